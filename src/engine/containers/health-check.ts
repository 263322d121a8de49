import type { Clock } from '#control/clock.ts';
import type { Health } from '#model/container.ts';
import { type HealthPlan, healthAfter, nextProbeMs } from './health-status.ts';
import { timestampOf } from './timestamp.ts';

export interface ProbeOutcome {
  /** 0 is healthy; -1 a probe that could not be run or took too long. */
  exitCode: number;
  output: string;
}

/** What the loop needs of its container. */
export interface HealthSubject {
  startedMs: number;
  health(): Health;
  /** A paused container is not probed. */
  isPaused(): boolean;
  /** Runs one probe and gives it `plan.timeoutMs`. */
  probe(signal: AbortSignal): Promise<ProbeOutcome>;
  report(health: Health): void;
}

/** Probes a container until `signal` aborts. One probe at a time; the interval counts from the end of the last one. */
export async function watchHealth(
  plan: HealthPlan,
  subject: HealthSubject,
  o: { clock: Clock; signal: AbortSignal },
): Promise<void> {
  const { clock, signal } = o;
  try {
    for (;;) {
      const ranMs = clock.nowMs() - subject.startedMs;
      await clock.sleep(nextProbeMs(plan, { health: subject.health(), ranMs }), signal);
      if (subject.isPaused()) continue;
      const start = clock.nowMs();
      const { exitCode, output } = await subject.probe(signal);
      if (signal.aborted) return;
      const end = clock.nowMs();
      const probe = { Start: timestampOf(start), End: timestampOf(end), ExitCode: exitCode, Output: output };
      subject.report(healthAfter(plan, { health: subject.health(), probe, ranMs: end - subject.startedMs }));
    }
  } catch (error) {
    // the container has ended
    if (!signal.aborted) throw error;
  }
}
