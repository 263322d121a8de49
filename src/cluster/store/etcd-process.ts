import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { startService } from '#engine/runtime/process-launcher.ts';
import { bootId, processStartTime } from '#linux/process-identity.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { unavailable } from '#model/errors.ts';
import { dataDirectory, type EtcdBirth, type EtcdMemberOptions, etcdArguments } from './etcd-arguments.ts';

const LOG_BYTES = 8 * 1024 * 1024;
/** How often a process is looked at that an earlier daemon started: nothing tells us of its end. */
const LOOK_MS = 1000;
const POLITE_MS = 15_000;
const STOP_LOOK_MS = 50;

/** A running etcd. It does not end with this process; the next one finds it by the file beside its data. */
export class EtcdProcess {
  readonly pid: number;
  /** Resolves with how it ended; never, where `signal` of its start aborts before. */
  readonly ended: Promise<string>;
  readonly #startTime: string;

  private constructor(o: { pid: number; startTime: string; ended: Promise<string> }) {
    this.pid = o.pid;
    this.#startTime = o.startTime;
    this.ended = o.ended;
  }

  /** The one that is running on this directory already. `signal` ends looking after it. */
  static adopt(o: EtcdMemberOptions, clock: Clock, signal: AbortSignal): EtcdProcess | undefined {
    const found = recorded(o) ?? searched(o);
    if (found === undefined) return undefined;
    record(o, found.pid, found.startTime);
    return new EtcdProcess({ ...found, ended: untilGone(found, clock, signal) });
  }

  /** `unavailable` where the program cannot be started. */
  static async start(
    o: EtcdMemberOptions,
    how: { birth: EtcdBirth; forceNew: boolean },
  ): Promise<EtcdProcess> {
    mkdirSync(dataDirectory(o), { recursive: true, mode: 0o700 });
    boundLog(o);
    const { pid, exited } = await startService({
      ...{ program: o.program ?? 'etcd', args: etcdArguments(o, how.birth, how.forceNew) },
      ...{ cwd: o.directory, logFile: logFile(o) },
      environment: {
        PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        // etcd 3.4 starts nowhere but on amd64 without it
        ...(process.arch === 'x64' ? {} : { ETCD_UNSUPPORTED_ARCH: process.arch }),
      },
    });
    const startTime = processStartTime(pid);
    if (startTime === undefined) throw unavailable(`etcd ended at once: ${lastWords(o)}`);
    record(o, pid, startTime);
    return new EtcdProcess({ pid, startTime, ended: exited });
  }

  get isRunning(): boolean {
    return processStartTime(this.pid) === this.#startTime;
  }

  /** Ends it: politely, then not. Resolves when it is gone; this process does not end before. */
  async stop(): Promise<void> {
    const until = performance.now() + POLITE_MS;
    this.#send('SIGTERM');
    while (this.isRunning) {
      if (performance.now() > until) this.#send('SIGKILL');
      await delay(STOP_LOOK_MS);
    }
  }

  #send(signal: NodeJS.Signals): void {
    if (!this.isRunning) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error;
    }
  }
}

/** Keeps the log within its bound: what is too much becomes the one older file. Lines written in that moment may be lost. */
export function boundLog(o: EtcdMemberOptions): void {
  const file = logFile(o);
  try {
    if (statSync(file).size <= (o.logBytes ?? LOG_BYTES)) return;
    copyFileSync(file, `${file}.1`);
    // the process goes on writing to the same file, at its end
    truncateSync(file);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

/** The last line of the log: why etcd ended, in its own words. */
export function lastWords(o: EtcdMemberOptions): string {
  try {
    return readFileSync(logFile(o), 'utf8').trimEnd().split('\n').at(-1)?.slice(0, 1000) ?? '';
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'it wrote no log';
    throw error;
  }
}

export function forgetProcess(o: EtcdMemberOptions): void {
  rmSync(pidFile(o), { force: true });
}

interface Identity {
  readonly pid: number;
  readonly startTime: string;
}

async function untilGone(o: Identity, clock: Clock, signal: AbortSignal): Promise<string> {
  while (processStartTime(o.pid) === o.startTime) {
    if (!(await pause(clock, LOOK_MS, signal))) return await new Promise<string>(() => undefined);
  }
  return 'nobody saw how';
}

function recorded(o: EtcdMemberOptions): Identity | undefined {
  let text: string;
  try {
    text = readFileSync(pidFile(o), 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  const [pid = '', startTime = '', boot = ''] = text.trim().split(' ');
  if (boot !== bootId() || processStartTime(Number(pid)) !== startTime) return undefined;
  return { pid: Number(pid), startTime };
}

/** A daemon that died between starting etcd and writing that down left one that only its command line tells of. */
function searched(o: EtcdMemberOptions): Identity | undefined {
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const pid = Number(name);
    const startTime = processStartTime(pid);
    const args = argumentsOf(pid);
    const isOurs =
      args[args.indexOf('--data-dir') + 1] === dataDirectory(o) && args.includes('--max-txn-ops');
    if (isOurs && startTime !== undefined) return { pid, startTime };
  }
  return undefined;
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return [];
    throw error;
  }
}

function record(o: EtcdMemberOptions, pid: number, startTime: string): void {
  const file = pidFile(o);
  writeFileSync(`${file}.new`, `${pid} ${startTime} ${bootId()}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

function pidFile(o: EtcdMemberOptions): string {
  return join(o.directory, 'etcd.pid');
}

function logFile(o: EtcdMemberOptions): string {
  return join(o.directory, 'etcd.log');
}
