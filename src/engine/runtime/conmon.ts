import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { FIRST_PIPE, startDetached } from '#linux/detached-process.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { internal, messageOf } from '#model/errors.ts';
import type { RuntimeName } from './runtime-chooser.ts';

/** What conmon says on its pipes: a pid (or an exit code), or -1 and why. */
interface ConmonMessage {
  data: number;
  message: string;
}

export interface ConmonOptions {
  runtime: RuntimeName;
  /** The runtime's own state directory. */
  runtimeRoot: string;
  containerId: string;
  /** The OCI bundle, or an exec's directory: attach socket, control fifo and pid files end up in it. */
  directory: string;
  exitDir: string;
  logPath: string | undefined;
  logMaxBytes?: number;
  terminal: boolean;
  stdin: boolean;
  leaveStdinOpen: boolean;
}

/** conmon(8) for a container: resolves with the pid once the runtime has created it, rejects with the runtime's words. */
export async function conmonCreate(o: ConmonOptions): Promise<number> {
  const [sync] = await launchConmon(o, o.containerId, [], ['_OCI_SYNCPIPE']);
  using lines = new PipeLines(given(sync));
  return (await firstMessage(lines)).data;
}

export interface ConmonExec {
  pid: number;
  exited: Promise<number>;
}

/**
 * conmon(8) for an exec. `attach` is called when the socket listens and nothing runs yet, so that no output is lost.
 */
export async function conmonExec(
  o: ConmonOptions & { execId: string; processFile: string; attach: () => void },
): Promise<ConmonExec> {
  const args = ['--exec', '--exec-attach', '--exec-process-spec', o.processFile];
  const pipes = ['_OCI_SYNCPIPE', '_OCI_STARTPIPE', '_OCI_ATTACHPIPE'];
  const [sync, startPipe, attach] = await launchConmon(o, o.execId, args, pipes);
  const start = given(startPipe);
  const lines = new PipeLines(given(sync));
  try {
    start.write('\0');
    using attached = new PipeLines(given(attach));
    await firstMessage(attached);
    o.attach();
    start.end('\0');
    const { data: pid } = await firstMessage(lines);
    const exited = lines.next().then((text) => (text === undefined ? 255 : parseMessage(text).data));
    return { pid, exited: exited.finally(() => lines[Symbol.dispose]()) };
  } catch (error) {
    lines[Symbol.dispose]();
    start.destroy();
    throw error;
  }
}

/** The pid of the conmon in `directory`, from the file it wrote; undefined where it did not come that far. */
export function conmonPid(directory: string): number | undefined {
  try {
    return Number(readFileSync(join(directory, 'conmon.pid'), 'utf8'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Gives our ends of the pipes, whose descriptors conmon finds in the variables `pipes`. */
async function launchConmon(
  o: ConmonOptions,
  uuid: string,
  more: readonly string[],
  pipes: readonly string[],
): Promise<Socket[]> {
  const args = [
    ...['--api-version', '1', '--cid', o.containerId, '--cuuid', uuid],
    ...['--runtime', `/usr/bin/${o.runtime}`, '--runtime-arg', `--root=${o.runtimeRoot}`],
    ...['--bundle', o.directory, '--exit-dir', o.exitDir, '--full-attach'],
    ...[
      '--container-pidfile',
      join(o.directory, 'pidfile'),
      '--conmon-pidfile',
      join(o.directory, 'conmon.pid'),
    ],
    ...['--log-path', o.logPath === undefined ? 'none' : `k8s-file:${o.logPath}`, '--no-sync-log'],
    ...(o.logMaxBytes === undefined ? [] : ['--log-size-max', String(o.logMaxBytes)]),
    ...(o.terminal ? ['--terminal'] : []),
    ...(o.stdin ? ['--stdin'] : []),
    ...(o.leaveStdinOpen ? ['--leave-stdin-open'] : []),
    ...more,
  ];
  const path = process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin';
  const descriptors = pipes.map((name, index) => [name, String(FIRST_PIPE + index)]);
  try {
    return await startDetached({
      ...{ program: 'conmon', args, cwd: o.directory, pipes: pipes.length },
      environment: { PATH: path, ...Object.fromEntries(descriptors) },
    });
  } catch (cause) {
    throw internal(`cannot run conmon: ${messageOf(cause)}`, { cause });
  }
}

function given(pipe: Socket | undefined): Socket {
  if (pipe === undefined) throw internal('conmon could not be given its pipes');
  return pipe;
}

async function firstMessage(lines: PipeLines): Promise<ConmonMessage> {
  const text = await lines.next();
  if (text === undefined) throw internal('conmon ended without a word');
  const message = parseMessage(text);
  if (message.data < 0) throw internal(message.message);
  return message;
}

function parseMessage(text: string): ConmonMessage {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || !('data' in value))
    throw internal(`conmon said: ${text}`);
  const message = 'message' in value ? String(value.message).trim() : '';
  return { data: Number(value.data), message };
}

/** Lines of a pipe, one at a time. */
class PipeLines implements Disposable {
  readonly #source: Readable;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  readonly #lines: string[] = [];
  #buffer = '';
  #ended = false;

  constructor(source: Readable) {
    this.#source = source;
    source.setEncoding('utf8');
    source.on('data', (text: string) => {
      const [last = '', ...whole] = (this.#buffer + text).split('\n').reverse();
      this.#buffer = last;
      for (const line of whole.reverse()) if (line !== '') this.#deliver(line);
    });
    const end = (): void => {
      this.#ended = true;
      for (const waiting of this.#waiting.splice(0)) waiting(undefined);
    };
    source.once('end', end).once('close', end).once('error', end);
  }

  /** Undefined once the other end is closed. */
  next(): Promise<string | undefined> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#ended) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#waiting.push(resolve);
    return promise;
  }

  [Symbol.dispose](): void {
    this.#source.destroy();
  }

  #deliver(line: string): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#lines.push(line);
    else waiting(line);
  }
}
