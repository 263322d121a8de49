import type { ServiceSpec, UpdateConfig } from '#model/service.ts';
import type { TaskRestartPolicy } from '#model/task-spec.ts';

const NANOSECONDS_PER_MS = 1e6;

/** What Swarm takes where a service does not say; times in milliseconds. */
const DEFAULT_RESTART_DELAY_MS = 5000;
const DEFAULT_MONITOR_MS = 5000;
export const DEFAULT_HISTORY_LIMIT = 5;

export interface RestartRules {
  readonly condition: 'none' | 'on-failure' | 'any';
  readonly delayMs: number;
  /** 0 is no limit. */
  readonly maxAttempts: number;
  /** 0 is ever. */
  readonly windowMs: number;
}

export function restartRulesOf(policy: TaskRestartPolicy | undefined): RestartRules {
  return {
    condition: policy?.Condition ?? 'any',
    delayMs: policy?.Delay === undefined ? DEFAULT_RESTART_DELAY_MS : policy.Delay / NANOSECONDS_PER_MS,
    maxAttempts: policy?.MaxAttempts ?? 0,
    windowMs: (policy?.Window ?? 0) / NANOSECONDS_PER_MS,
  };
}

export interface UpdateRules {
  /** Infinity for 0. */
  readonly parallelism: number;
  readonly delayMs: number;
  readonly failureAction: 'continue' | 'pause' | 'rollback';
  readonly monitorMs: number;
  readonly maxFailureRatio: number;
  readonly startFirst: boolean;
}

/** Where a service says nothing of updates, one task at a time. */
export function updateRulesOf(config: UpdateConfig | undefined): UpdateRules {
  const parallelism = config === undefined ? 1 : (config.Parallelism ?? 0);
  return {
    parallelism: parallelism === 0 ? Number.POSITIVE_INFINITY : parallelism,
    delayMs: (config?.Delay ?? 0) / NANOSECONDS_PER_MS,
    failureAction: config?.FailureAction ?? 'pause',
    monitorMs: config?.Monitor ? config.Monitor / NANOSECONDS_PER_MS : DEFAULT_MONITOR_MS,
    maxFailureRatio: config?.MaxFailureRatio ?? 0,
    startFirst: config?.Order === 'start-first',
  };
}

/** How many tasks a replicated service wants. */
export function replicasOf(spec: ServiceSpec): number {
  return spec.Mode?.Replicated?.Replicas ?? 1;
}

export type ModeName = 'replicated' | 'global' | 'replicated-job' | 'global-job';

export function modeOf(spec: ServiceSpec): ModeName {
  const mode = spec.Mode ?? {};
  if (mode.Global !== undefined) return 'global';
  if (mode.ReplicatedJob !== undefined) return 'replicated-job';
  if (mode.GlobalJob !== undefined) return 'global-job';
  return 'replicated';
}
