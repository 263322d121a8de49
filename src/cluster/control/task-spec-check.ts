import { parseConstraints } from '#cluster/scheduler/constraint.ts';
import { invalid } from '#model/errors.ts';
import type { GenericResource, TaskResources, TaskRestartPolicy, TaskSpec } from '#model/task-spec.ts';
import { checkContainerSpec } from './container-spec-check.ts';

const LEAST_NANO_CPUS = 1_000_000;
const LEAST_MEMORY_BYTES = 4 * 1024 * 1024;

/** What can be said of a task template without looking at the cluster. */
export function checkTaskSpec(spec: TaskSpec): void {
  checkContainerSpec(spec.ContainerSpec);
  if (spec.Resources !== undefined) checkResources(spec.Resources);
  if (spec.RestartPolicy !== undefined) checkRestartPolicy(spec.RestartPolicy);
  parseConstraints(spec.Placement?.Constraints ?? []);
  if ((spec.Placement?.MaxReplicas ?? 0) < 0) throw invalid('TaskSpec: max replicas cannot be negative');
  for (const { Spread } of spec.Placement?.Preferences ?? []) {
    if (Spread.SpreadDescriptor === '') throw invalid('TaskSpec: a spread preference names no label');
  }
}

function checkResources({ Limits, Reservations }: TaskResources): void {
  for (const amounts of [Limits, Reservations]) {
    const cpus = amounts?.NanoCPUs ?? 0;
    if (cpus !== 0 && cpus < LEAST_NANO_CPUS)
      throw invalid(`invalid cpu value ${cpus / 1e9}: Must be at least 0.001`);
    const memory = amounts?.MemoryBytes ?? 0;
    if (memory !== 0 && memory < LEAST_MEMORY_BYTES)
      throw invalid(`invalid memory value ${memory}: Must be at least 4MiB`);
  }
  if ((Limits?.Pids ?? 0) < 0) throw invalid(`invalid pids value ${Limits?.Pids}: Must not be negative`);
  checkGenericResources(Reservations?.GenericResources ?? []);
}

/** A kind is asked for by number or by the names of its members, not both. */
function checkGenericResources(resources: readonly GenericResource[]): void {
  const forms = new Map<string, string>();
  for (const resource of resources) {
    const form = 'DiscreteResourceSpec' in resource ? 'discrete' : 'named';
    const { Kind } =
      'DiscreteResourceSpec' in resource ? resource.DiscreteResourceSpec : resource.NamedResourceSpec;
    if (Kind === '') throw invalid('invalid generic resource: it has no kind');
    if ('DiscreteResourceSpec' in resource && resource.DiscreteResourceSpec.Value <= 0)
      throw invalid(`invalid generic resource ${Kind}: Must be at least 1`);
    if ((forms.get(Kind) ?? form) !== form)
      throw invalid(`mixed discrete and named resources are not allowed: ${Kind}`);
    forms.set(Kind, form);
  }
}

function checkRestartPolicy({ Delay, Window, MaxAttempts }: TaskRestartPolicy): void {
  if ((Delay ?? 0) < 0) throw invalid('TaskSpec: restart-delay cannot be negative');
  if ((Window ?? 0) < 0) throw invalid('TaskSpec: restart-window cannot be negative');
  if ((MaxAttempts ?? 0) < 0) throw invalid('TaskSpec: restart-max-attempts cannot be negative');
}
