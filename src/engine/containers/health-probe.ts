import { randomBytes } from 'node:crypto';
import type { Clock } from '#control/clock.ts';
import { startExec } from '#engine/exec/exec-process.ts';
import type { ExecHandle } from '#engine/runtime/container-runtime.ts';
import { processStartTime } from '#linux/process-identity.ts';
import type { ContainerRecord } from '#model/container.ts';
import { messageOf } from '#model/errors.ts';
import { StreamSession } from './attach-session.ts';
import { publishContainerEvent } from './container-events.ts';
import type { ContainerParts } from './container-parts.ts';
import type { StoredContainer } from './container-table.ts';
import { type ProbeOutcome, watchHealth } from './health-check.ts';
import { type HealthPlan, healthPlan } from './health-status.ts';

/** What Docker keeps of a probe's output. */
const MOST_OUTPUT_BYTES = 4096;

/** The health check of a container; undefined when it has none. */
export function planOfContainer(record: ContainerRecord): HealthPlan | undefined {
  return healthPlan(record.config.Healthcheck, record.config.Shell ?? ['/bin/sh', '-c']);
}

/** Probes a running container, keeps its state's health and announces changes of it, until `signal` aborts. */
export async function watchContainerHealth(
  parts: ContainerParts,
  record: StoredContainer,
  plan: HealthPlan,
  o: { clock: Clock; signal: AbortSignal },
): Promise<void> {
  const startedMs = Date.parse(record.state.StartedAt);
  const subject = {
    startedMs,
    health: () => record.state.Health ?? { Status: 'starting' as const, FailingStreak: 0, Log: [] },
    isPaused: () => record.state.Paused,
    probe: (signal: AbortSignal) => probe(parts, record, plan, signal),
    report: (health: NonNullable<ContainerRecord['state']['Health']>) => {
      const before = record.state.Health?.Status;
      record.state = { ...record.state, Health: health };
      parts.table.save(record);
      if (health.Status !== before)
        publishContainerEvent(parts.events, `health_status: ${health.Status}`, record);
    },
  };
  await watchHealth(plan, subject, o);
}

/** Runs the check's command once. It is killed when it takes too long, or the container ends. */
async function probe(
  parts: ContainerParts,
  record: StoredContainer,
  plan: HealthPlan,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  const execId = randomBytes(32).toString('hex');
  const announce = (action: string, attributes: Record<string, string> = {}): void =>
    publishContainerEvent(parts.events, action, record, { execID: execId, ...attributes });
  const command = plan.command.join(' ');
  announce(`exec_create: ${command}`);
  announce(`exec_start: ${command}`);
  let handle: ExecHandle;
  try {
    handle = await startExec(parts.runtime, record, {
      execId,
      rootfs: parts.filesystems.mergedPath(record.id),
      config: {
        AttachStdin: false,
        AttachStdout: true,
        AttachStderr: true,
        Tty: false,
        DetachKeys: '',
        Cmd: plan.command,
        Env: [],
        Privileged: false,
        User: '',
        WorkingDir: '',
      },
    });
  } catch (error) {
    return { exitCode: -1, output: messageOf(error) };
  }
  const session = new StreamSession({ tty: false, stdin: false, stdout: true, stderr: true });
  session.connect(handle.stream);
  const output = collectOutput(session);
  const exitCode = await exitWithin(parts.clock, handle, plan.timeoutMs, signal);
  if (exitCode === undefined) {
    session.close();
    return { exitCode: -1, output: `Health check exceeded timeout (${plan.timeoutMs}ms)` };
  }
  announce('exec_die', { exitCode: String(exitCode) });
  return { exitCode, output: await output };
}

async function collectOutput(session: StreamSession): Promise<string> {
  const kept: Buffer[] = [];
  let bytes = 0;
  for await (const { data } of session.output) {
    if (bytes < MOST_OUTPUT_BYTES) kept.push(data.subarray(0, MOST_OUTPUT_BYTES - bytes));
    bytes += data.length;
  }
  return Buffer.concat(kept).toString('utf8');
}

/** undefined when the command had to be killed. */
async function exitWithin(
  clock: Clock,
  handle: ExecHandle,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const startTime = processStartTime(handle.pid);
  const awake = new AbortController();
  const late = clock.sleep(timeoutMs, AbortSignal.any([signal, awake.signal])).then(
    () => undefined,
    () => undefined,
  );
  try {
    const exitCode = await Promise.race([handle.exited, late]);
    if (exitCode === undefined) kill(handle.pid, startTime);
    return exitCode;
  } finally {
    awake.abort();
  }
}

/** Unless the process is gone and its number another's. */
function kill(pid: number, startTime: string | undefined): void {
  if (startTime === undefined || processStartTime(pid) !== startTime) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
