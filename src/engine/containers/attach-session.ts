import { on } from 'node:events';
import { type Duplex, PassThrough, type Writable } from 'node:stream';
import type { LogRecord } from '#engine/runtime/log-reader.ts';

/** A piece of what a process wrote, never empty. */
export interface OutputChunk {
  stream: 'stdout' | 'stderr';
  data: Buffer;
}

/** A process's stdio as the engine hands it out. */
export interface AttachSession {
  readonly tty: boolean;
  /** Ends when the process has closed its output, or the session is closed. Can be read once. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Absent when stdin was not asked for, or the process has none. Ending it is the process's end of file. */
  readonly input: Writable | undefined;
  /** Ends `output`; the process runs on. */
  close(): void;
}

export interface SessionOptions {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** What was written before: comes first. */
  replay?: AsyncIterable<LogRecord>;
  /** `replay` follows the log of a running process, so it is the output, each byte once; the stream is for input. */
  followsLog?: boolean;
  onClose?: () => void;
}

/** How many packets may wait for a slow reader before the process has to. */
const MOST_WAITING = 32;
const STDERR = 3;

/**
 * A session that may be there before its process is: `connect` joins the two without losing a byte, `close` ends it
 * whether it was connected or not. A reader that does not read makes the process wait, and loses nothing.
 */
export class StreamSession implements AttachSession {
  readonly tty: boolean;
  readonly input: PassThrough | undefined;
  readonly #options: SessionOptions;
  readonly #source: PromiseWithResolvers<Duplex | undefined> = Promise.withResolvers();
  readonly #abandoned: PromiseWithResolvers<void> = Promise.withResolvers();
  #connected: Duplex | undefined;
  #ended: Promise<void> | undefined;
  #closed = false;

  constructor(options: SessionOptions) {
    this.tty = options.tty;
    this.#options = options;
    this.input = options.stdin ? new PassThrough() : undefined;
  }

  /**
   * Joins the session to its process: `stream` reads packets of a stream number (2, 3) and data, and writes stdin. The output
   * does not end before `ended` resolves: then whoever reads it can ask for the exit code.
   */
  connect(stream: Duplex, ended?: Promise<void>): void {
    if (this.#closed) {
      stream.destroy();
      return;
    }
    this.#connected = stream;
    this.#ended = ended;
    const { input } = this;
    if (input !== undefined) {
      input.pipe(stream);
      stream.once('close', () => input.destroy());
    }
    // what ends the connection ends the session; the reader of `output` sees it as the end
    stream.on('error', () => this.#source.resolve(undefined));
    if (this.#options.followsLog === true) stream.resume();
    this.#source.resolve(stream);
  }

  /** There is no process to come: the output ends with what is replayed. */
  endAfterReplay(): void {
    this.#source.resolve(undefined);
  }

  close(): void {
    this.#closed = true;
    this.#options.onClose?.();
    this.#source.resolve(undefined);
    this.#abandoned.resolve();
    this.#connected?.destroy();
    this.input?.destroy();
  }

  get output(): AsyncIterable<OutputChunk> {
    return this.#read();
  }

  async *#read(): AsyncGenerator<OutputChunk> {
    try {
      for await (const { stream, data } of this.#options.replay ?? []) {
        if (this.#closed) return;
        if (this.#wants(stream)) yield { stream, data };
      }
      if (this.#options.followsLog === true) return;
      const source = await this.#source.promise;
      if (source !== undefined) yield* this.#packets(source);
      await Promise.race([this.#ended, this.#abandoned.promise]);
    } finally {
      this.close();
    }
  }

  async *#packets(source: Duplex): AsyncGenerator<OutputChunk> {
    if (source.destroyed) return;
    const packets: AsyncIterable<Buffer[]> = on(source, 'data', {
      close: ['end', 'close'],
      highWaterMark: MOST_WAITING,
      lowWaterMark: 1,
    });
    try {
      for await (const [packet] of packets) {
        if (packet === undefined) continue;
        const stream = packet[0] === STDERR ? 'stderr' : 'stdout';
        if (packet.length > 1 && this.#wants(stream)) yield { stream, data: packet.subarray(1) };
      }
    } catch (error) {
      // a broken connection is the end of the process's output
      if (!isBrokenConnection(error)) throw error;
    }
  }

  #wants(stream: 'stdout' | 'stderr'): boolean {
    return this.#options[stream];
  }
}

function isBrokenConnection(error: unknown): boolean {
  const codes = ['ECONNRESET', 'EPIPE', 'ENOTCONN', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_PREMATURE_CLOSE'];
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
