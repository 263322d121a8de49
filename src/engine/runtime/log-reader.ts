import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { hasCode } from '#linux/system-call-error.ts';

/** One line (or part of a line that was long) that a container wrote. */
export interface LogRecord {
  /** Nanoseconds since the epoch. */
  timeNs: bigint;
  stream: 'stdout' | 'stderr';
  /** With its newline, but for a part that the next record goes on with. */
  data: Buffer;
}

export interface LogOptions {
  path: string;
  follow: boolean;
  /** How many of the last records. */
  tail: number | 'all';
  sinceNs?: bigint;
  untilNs?: bigint;
  /** True once nobody writes any more. */
  ended: () => boolean;
  signal: AbortSignal;
}

const CHUNK = 64 * 1024;
const NEWLINE = 0x0a;
/** The end of a container is no event of its log file, so a follower also looks up by itself. */
const RECHECK_MS = 200;

/**
 * Reads conmon's log (its k8s-file format: `time stream F|P text`). Following wakes up on file events, goes over to the new
 * file when the log was rotated, and ends after the last line once `ended` says so.
 */
export async function* readLog(o: LogOptions): AsyncGenerator<LogRecord> {
  const { sinceNs = 0n, untilNs } = o;
  const wanted = (record: LogRecord): boolean => record.timeNs >= sinceNs;
  using file = new LogFile(o.path);
  const start = o.tail === 'all' ? 0 : file.offsetOfLast(o.tail);
  file.seek(start);
  using changes = o.follow ? new FileChanges(o.path, o.signal) : undefined;
  while (!o.signal.aborted) {
    // Asked before reading, so that what was written until then is read in any case.
    const last = changes === undefined || o.ended();
    for (const record of file.records()) {
      if (untilNs !== undefined && record.timeNs > untilNs) return;
      if (wanted(record)) yield record;
      if (o.signal.aborted) return;
    }
    if (file.followRotation()) continue;
    if (last) return;
    await changes.next(untilNs);
    if (untilNs !== undefined && BigInt(Date.now()) * 1_000_000n > untilNs) return;
  }
}

/** Parses one line without its newline; undefined for what is not a log line. */
export function parseLogLine(line: Buffer): LogRecord | undefined {
  const first = line.indexOf(0x20);
  const second = line.indexOf(0x20, first + 1);
  const third = line.indexOf(0x20, second + 1);
  if (first === -1 || second === -1 || third === -1) return undefined;
  const timeNs = parseTime(line.toString('latin1', 0, first));
  const stream = line.toString('latin1', first + 1, second);
  const tag = line.toString('latin1', second + 1, third);
  if (timeNs === undefined || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
  const text = line.subarray(third + 1);
  return {
    timeNs,
    stream,
    data: tag.startsWith('F') ? Buffer.concat([text, Buffer.from('\n')]) : Buffer.from(text),
  };
}

/** RFC 3339 with nanoseconds. */
function parseTime(text: string): bigint | undefined {
  const match = /^(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) return undefined;
  const milliseconds = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}

/** An open log file, read forwards line by line. */
class LogFile implements Disposable {
  readonly #path: string;
  #fd: number | undefined;
  #inode = 0;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
    this.#open();
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  seek(offset: number): void {
    this.#offset = offset;
  }

  /** The whole lines between the last position and the file's end. */
  *records(): Generator<LogRecord> {
    if (this.#fd === undefined) this.#open();
    if (this.#fd === undefined) return;
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const length = readSync(this.#fd, chunk, 0, CHUNK, this.#offset);
      if (length === 0) return;
      this.#offset += length;
      const data = Buffer.concat([this.#rest, chunk.subarray(0, length)]);
      let at = 0;
      for (let end = data.indexOf(NEWLINE, at); end !== -1; end = data.indexOf(NEWLINE, at)) {
        const record = parseLogLine(data.subarray(at, end));
        at = end + 1;
        if (record !== undefined) yield record;
      }
      this.#rest = Buffer.from(data.subarray(at));
    }
  }

  /** Whether another file stands at the path now, or the same one was cut; goes over to it. */
  followRotation(): boolean {
    const status = statSync(this.#path, { throwIfNoEntry: false });
    if (status === undefined || this.#fd === undefined) return false;
    if (status.ino === this.#inode && status.size >= this.#offset) return false;
    closeSync(this.#fd);
    this.#fd = undefined;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
    this.#open();
    return true;
  }

  /** Where the last `count` records begin, found from the end backwards. A long line counts as one. */
  offsetOfLast(count: number): number {
    if (this.#fd === undefined) return 0;
    const { size } = fstatSync(this.#fd);
    if (count === 0) return size;
    let found = 0;
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (let end = size; end > 0; ) {
      const begin = Math.max(0, end - CHUNK);
      readSync(this.#fd, chunk, 0, end - begin, begin);
      for (let i = end - begin - 1; i >= 0; i--) {
        if (chunk[i] !== NEWLINE || begin + i === size - 1) continue;
        found += 1;
        if (found === count) return begin + i + 1;
      }
      end = begin;
    }
    return 0;
  }

  #open(): void {
    try {
      this.#fd = openSync(this.#path, 'r');
      this.#inode = fstatSync(this.#fd).ino;
    } catch (error) {
      // A container that never ran has no log.
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }
}

/** Wakes a follower up: file events, the end of the wait, or the time `until`. */
class FileChanges implements Disposable {
  readonly #closers = new DisposableStack();
  #dirty = false;
  #wake: (() => void) | undefined;

  constructor(path: string, signal: AbortSignal) {
    const notify = (): void => {
      this.#dirty = true;
      this.#wake?.();
    };
    const name = basename(path);
    const watcher = watch(dirname(path), (_event, changed) => {
      if (changed === null || changed === name) notify();
    });
    this.#closers.defer(() => watcher.close());
    signal.addEventListener('abort', notify, { once: true });
    this.#closers.defer(() => signal.removeEventListener('abort', notify));
  }

  async next(untilNs: bigint | undefined): Promise<void> {
    if (!this.#dirty) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const untilMs =
        untilNs === undefined ? Number.POSITIVE_INFINITY : Number(untilNs / 1_000_000n) - Date.now() + 1;
      const timer = setTimeout(resolve, Math.max(0, Math.min(untilMs, RECHECK_MS)));
      await promise;
      clearTimeout(timer);
      this.#wake = undefined;
    }
    this.#dirty = false;
  }

  [Symbol.dispose](): void {
    this.#closers.dispose();
  }
}
