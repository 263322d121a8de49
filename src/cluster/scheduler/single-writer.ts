import type { ServiceRecord } from '#model/service.ts';
import type { TaskSpec } from '#model/task-spec.ts';

/** `true` or `false` on a service decides what is otherwise concluded. */
const SINGLE_WRITER_LABEL = 'drover.single-writer';

/**
 * Whether two tasks in one place of a service must never run at once, wherever they are: such a task is fenced, replaced elsewhere
 * only after its node has certainly stopped it, and prefers the node where its data is.
 *
 * That is a replicated service with the label `drover.single-writer=true` (each of its slots by itself), or one with a single
 * replica (or none at the moment) that mounts a named volume it may write to, or that has one replica and at most one a node. With the label at `false`
 * it is none. Bind mounts, anonymous and read-only volumes do not count: they hold nothing that a second task elsewhere
 * could spoil. Global services and jobs are none: their tasks are not moved, or are meant to end.
 */
export function isSingleWriter(service: Pick<ServiceRecord, 'Spec'>, template: TaskSpec): boolean {
  const { Mode = { Replicated: {} }, Labels } = service.Spec;
  if (Mode.Replicated === undefined) return false;
  const said = Labels?.[SINGLE_WRITER_LABEL]?.toLowerCase();
  if (said === 'true' || said === 'false') return said === 'true';
  // scaled to none and back, it is the same one all the time
  if ((Mode.Replicated.Replicas ?? 1) > 1) return false;
  return template.Placement?.MaxReplicas === 1 || writesNamedVolume(template);
}

function writesNamedVolume({ ContainerSpec }: TaskSpec): boolean {
  return (ContainerSpec.Mounts ?? []).some(
    ({ Type, Source = '', ReadOnly = false }) =>
      (Type === 'volume' || Type === 'cluster') && Source !== '' && !ReadOnly,
  );
}
