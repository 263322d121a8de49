import type { Health, HealthConfig, HealthLogEntry } from '#model/container.ts';

const SECOND = 1_000_000_000;
/** Probes that inspect shows. */
const KEPT_PROBES = 5;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** A health check with every default filled in; times in milliseconds. */
export interface HealthPlan {
  command: string[];
  intervalMs: number;
  timeoutMs: number;
  retries: number;
  startPeriodMs: number;
  startIntervalMs: number;
}

/** What is to be run and how often; undefined when there is no check, or it was switched off. */
export function healthPlan(
  config: HealthConfig | undefined,
  shell: readonly string[],
): HealthPlan | undefined {
  const [kind, ...words] = config?.Test ?? [];
  if (config === undefined || kind === undefined || kind === 'NONE') return undefined;
  const command = kind === 'CMD-SHELL' ? [...shell, words.join(' ')] : words;
  if (command.length === 0) return undefined;
  return {
    command,
    intervalMs: milliseconds(config.Interval, 30 * SECOND),
    timeoutMs: milliseconds(config.Timeout, 30 * SECOND),
    retries: config.Retries || 3,
    startPeriodMs: milliseconds(config.StartPeriod, 0),
    startIntervalMs: milliseconds(config.StartInterval, 5 * SECOND),
  };
}

function milliseconds(nanoseconds: number | undefined, otherwise: number): number {
  return (nanoseconds || otherwise) / NANOSECONDS_PER_MILLISECOND;
}

/** How long to wait before the next probe: shorter while the container may still be starting. */
export function nextProbeMs(plan: HealthPlan, o: { health: Health; ranMs: number }): number {
  const starting = o.health.Status === 'starting' && o.ranMs < plan.startPeriodMs;
  return starting ? Math.min(plan.startIntervalMs, plan.intervalMs) : plan.intervalMs;
}

/** The health after a probe. Failures in the start period do not count until the container was healthy once. */
export function healthAfter(
  plan: HealthPlan,
  o: { health: Health; probe: HealthLogEntry; ranMs: number },
): Health {
  const { health, probe } = o;
  const log = [...health.Log, probe].slice(-KEPT_PROBES);
  if (probe.ExitCode === 0) return { Status: 'healthy', FailingStreak: 0, Log: log };
  if (health.Status === 'starting' && o.ranMs < plan.startPeriodMs) return { ...health, Log: log };
  const streak = health.FailingStreak + 1;
  const status = streak >= plan.retries ? 'unhealthy' : health.Status;
  return { Status: status, FailingStreak: streak, Log: log };
}
