import { backoffMs } from '#control/backoff.ts';
import type { RestartPolicy } from '#model/container.ts';
import { invalid } from '#model/errors.ts';

/** A container that ran this long starts its back-off over. */
const STEADY_MS = 10_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;

export interface EndedRun {
  exitCode: number;
  stoppedByUser: boolean;
  /** How often the policy has started the container again since a person last did. */
  restartCount: number;
}

/** Whether a container whose process ended by itself is started again. */
export function shouldRestart(policy: RestartPolicy, run: EndedRun): boolean {
  if (run.stoppedByUser) return false;
  switch (policy.Name) {
    case 'always':
    case 'unless-stopped':
      return true;
    case 'on-failure':
      if (run.exitCode === 0) return false;
      return policy.MaximumRetryCount === 0 || run.restartCount < policy.MaximumRetryCount;
    case 'no':
    case '':
      return false;
  }
}

/** Whether a container is started when the machine is; Docker's `always` then also brings back what a person stopped. */
export function shouldStartWithMachine(
  policy: RestartPolicy,
  o: { stoppedByUser: boolean; hasBeenStarted: boolean },
): boolean {
  if (!o.hasBeenStarted) return false;
  return policy.Name === 'always' || (policy.Name === 'unless-stopped' && !o.stoppedByUser);
}

/** The next back-off: how many restarts in a row were quick ones, and how long to wait now. */
export function nextRestart(o: { quickRestarts: number; ranMs: number }): {
  quickRestarts: number;
  delayMs: number;
} {
  const attempt = o.ranMs >= STEADY_MS ? 0 : o.quickRestarts;
  const delayMs = backoffMs({ attempt, firstMs: FIRST_DELAY_MS, maxMs: LONGEST_DELAY_MS });
  return { quickRestarts: attempt + 1, delayMs };
}

/** Throws Docker's message for a policy that makes no sense. */
export function checkRestartPolicy(policy: RestartPolicy): void {
  const known: readonly string[] = ['', 'no', 'always', 'unless-stopped', 'on-failure'];
  if (!known.includes(policy.Name)) {
    throw invalid(
      `invalid restart policy: unknown policy '${policy.Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (policy.MaximumRetryCount < 0) {
    throw invalid('invalid restart policy: maximum retry count cannot be negative');
  }
  if (policy.Name !== 'on-failure' && policy.MaximumRetryCount !== 0) {
    throw invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
}
