import { constants, type Http2Stream } from 'node:http2';
import { cancelled, invalid, messageOf, unavailable } from '#model/errors.ts';
import type { ByteBudget } from './byte-budget.ts';
import { bytesLine, encodeLine, LARGEST_MESSAGE, LineReader, messageText } from './message-lines.ts';
import { MessageQueue } from './message-queue.ts';
import type { Channel, Peer } from './transport.ts';
import { fromWire, toWire } from './wire-error.ts';

/** Messages, and bytes of them, that wait for their reader before the other side is held. */
const MOST_WAITING = 64;
const MOST_WAITING_BYTES = 1024 * 1024;
/** What callers that do not wait may pile up; beyond it the channel breaks. */
const MOST_UNSENT = 4 * LARGEST_MESSAGE;
/** Ticks in a row in which the other side takes nothing of what a closed channel still has to send. */
const STUCK_TICKS = 15;
/** Ticks that a closed channel waits for the other side to end too, which it does when it has read everything. */
const LINGER_TICKS = 150;
const END = encodeLine('end', 'null');

export interface StreamChannelOptions {
  readonly peer: Peer | undefined;
  readonly remote: string | undefined;
  readonly budget: ByteBudget;
  /** The side that serves tells the other one what went wrong. */
  readonly serves: boolean;
  /** Largest message that is taken, in bytes. */
  readonly largest?: number;
}

/**
 * A channel on one HTTP/2 stream. Its states: open; over, when either side ended (`closed` is aborted; the rest of what was sent may still be
 * on its way); gone, when the stream is.
 */
export class StreamChannel implements Channel {
  readonly peer: Peer | undefined;
  readonly remote: string | undefined;
  readonly messages: MessageQueue;
  readonly #stream: Http2Stream;
  readonly #options: StreamChannelOptions;
  readonly #reader: LineReader;
  readonly #closed = new AbortController();
  #drained: PromiseWithResolvers<void> | undefined;
  /** Bytes that wait for their reader, and of the unfinished line: both are counted against the peer's budget. */
  #waiting = 0;
  #held = 0;
  #unsent = 0;
  #stuckTicks = 0;
  #lingerTicks = 0;

  constructor(stream: Http2Stream, options: StreamChannelOptions) {
    this.peer = options.peer;
    this.remote = options.remote;
    this.#stream = stream;
    this.#options = options;
    this.#reader = new LineReader(options.largest);
    this.messages = new MessageQueue((bytes) => this.#taken(bytes));
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('end', () => {
      if (!this.closed.aborted) this.break(broken('the other side ended within it'));
    });
    stream.on('drain', () => this.#drain());
    stream.on('error', (error) => this.messages.end(broken(messageOf(error))));
    stream.on('close', () => this.#gone());
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  async send(message: unknown): Promise<void> {
    const lines =
      message instanceof Uint8Array
        ? [bytesLine(message), message]
        : [encodeLine('message', messageText(message))];
    if (this.closed.aborted) throw unavailable('the channel is over');
    if (this.#stream.writableLength > MOST_UNSENT) {
      this.break(unavailable('the channel broke: too many messages wait to be sent'));
      throw unavailable('the channel broke: too many messages wait to be sent');
    }
    if (this.#write(lines)) return;
    this.#drained ??= Promise.withResolvers();
    await this.#drained.promise;
    if (this.closed.aborted) throw unavailable('the channel is over');
  }

  close(): void {
    // also of one that is over: what nobody will read is not kept
    this.messages.drop();
    if (this.closed.aborted) return;
    if (this.#stream.writable) this.#stream.write(END);
    this.#end();
  }

  /** Ends it for an error, which the other side is told where this one serves. */
  fail(error: unknown): void {
    this.messages.drop();
    if (!this.closed.aborted) this.#endWith(error);
  }

  /** Cuts it off: the other side sees it break, the reader here gets `error`. */
  break(error: Error): void {
    this.messages.end(error);
    this.#stream.close(constants.NGHTTP2_CANCEL);
    this.#over();
  }

  /** Breaks it when `signal` aborts. */
  endBy(signal: AbortSignal): void {
    const abort = (): void => this.break(cancelled('the channel was cancelled', { cause: signal.reason }));
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    this.closed.addEventListener('abort', () => signal.removeEventListener('abort', abort), { once: true });
  }

  /** Called at every tick of the session: what is over goes, even when the other side does not read. */
  tick(): void {
    if (!this.closed.aborted) return;
    const unsent = this.#stream.writableLength;
    this.#stuckTicks = unsent > 0 && unsent === this.#unsent ? this.#stuckTicks + 1 : 0;
    this.#unsent = unsent;
    if (this.#stuckTicks > STUCK_TICKS || ++this.#lingerTicks > LINGER_TICKS)
      this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #receive(chunk: Buffer): void {
    if (this.closed.aborted) return;
    try {
      for (const { kind, message, bytes } of this.#reader.read(chunk)) {
        if (kind !== 'message') {
          // only who serves has errors to tell of
          if (kind === 'error' && this.#options.serves) throw invalid('a caller sent an error');
          this.messages.end(kind === 'error' ? fromWire(message) : undefined);
          this.#end();
          return;
        }
        this.#countHeld();
        this.#waiting += bytes;
        const isWithin = this.#options.budget.use(bytes);
        this.messages.push(message, bytes);
        if (!isWithin) throw unavailable('too many messages at once');
      }
      this.#countHeld();
    } catch (error) {
      this.messages.end(error instanceof Error ? error : broken(messageOf(error)));
      this.#endWith(error);
    }
    if (this.#isFull() && !this.closed.aborted) this.#stream.pause();
  }

  /** False when the stream wants to be waited for. */
  #write(lines: readonly Uint8Array[]): boolean {
    this.#stream.cork();
    const isTaken = lines.map((line) => this.#stream.write(line)).every(Boolean);
    this.#stream.uncork();
    return isTaken;
  }

  #isFull(): boolean {
    return this.messages.length >= MOST_WAITING || this.#waiting >= MOST_WAITING_BYTES;
  }

  /** Counts the unfinished line against the peer's budget. */
  #countHeld(): void {
    const change = this.#reader.held - this.#held;
    this.#held = this.#reader.held;
    if (!this.#options.budget.use(change)) throw unavailable('too many messages at once');
  }

  #taken(bytes: number): void {
    this.#waiting -= bytes;
    this.#options.budget.use(-bytes);
    if (!this.#isFull() && this.#stream.isPaused()) this.#stream.resume();
  }

  #endWith(error: unknown): void {
    if (this.#options.serves && this.#stream.writable)
      this.#stream.write(encodeLine('error', JSON.stringify(toWire(error))));
    this.#end();
  }

  /** Ends this side of the stream; what still comes is read and dropped. */
  #end(): void {
    this.#stream.end();
    this.#over();
    this.#stream.resume();
  }

  #over(): void {
    this.#reader.drop();
    this.#options.budget.use(-this.#held);
    this.#held = 0;
    this.#closed.abort();
    this.#drain();
  }

  #gone(): void {
    this.messages.end(broken('the connection is gone'));
    this.#over();
  }

  #drain(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }
}

function broken(why: string): Error {
  return unavailable(`the channel broke: ${why}`);
}
