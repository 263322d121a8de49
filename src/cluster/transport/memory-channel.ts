import { cancelled, unavailable } from '#model/errors.ts';
import type { ServedChannel } from './channel-service.ts';
import type { MemoryPipe } from './memory-pipe.ts';
import { bytesLine, LARGEST_MESSAGE, messageText } from './message-lines.ts';
import { MessageQueue } from './message-queue.ts';
import type { Peer } from './transport.ts';
import { fromWire, toWire } from './wire-error.ts';

/** Messages on their way or unread before a sender waits. */
const WINDOW = 64;
/** As between machines: callers that do not wait pile up no more than this, in characters. */
const MOST_UNSENT = 4 * LARGEST_MESSAGE;

/** One end of a channel in memory. What it does to the other end goes through its pipe, in order. */
export class MemoryChannel implements ServedChannel {
  readonly peer: Peer | undefined;
  readonly remote: string;
  readonly messages: MessageQueue;
  readonly #out: MemoryPipe;
  readonly #other: () => MemoryChannel;
  readonly #closed = new AbortController();
  #unread = 0;
  #unreadSize = 0;
  #room: PromiseWithResolvers<void> | undefined;

  /** `other` is asked when something arrives at it. */
  constructor(peer: Peer | undefined, remote: string, out: MemoryPipe, other: () => MemoryChannel) {
    this.peer = peer;
    this.remote = remote;
    this.#out = out;
    this.#other = other;
    this.messages = new MessageQueue((size) => this.#other().#read(size));
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  async send(message: unknown): Promise<void> {
    // a copy or text: what either side changes in it afterwards stays its own
    const sent = message instanceof Uint8Array ? copyOf(message) : messageText(message);
    if (this.closed.aborted) throw unavailable('the channel is over');
    if (this.#unreadSize > MOST_UNSENT) {
      this.break(unavailable('the channel broke: too many messages wait to be sent'));
      throw unavailable('the channel broke: too many messages wait to be sent');
    }
    this.#unread++;
    this.#unreadSize += sent.length;
    const arrived = (): unknown => (typeof sent === 'string' ? JSON.parse(sent) : sent);
    this.#out.post(() => this.#other().messages.push(arrived(), sent.length));
    if (this.#unread < WINDOW) return;
    this.#room ??= Promise.withResolvers();
    await this.#room.promise;
    if (this.closed.aborted) throw unavailable('the channel is over');
  }

  close(): void {
    this.messages.drop();
    if (this.closed.aborted) return;
    this.#over();
    this.#out.post(() => this.#other().#ended(undefined));
  }

  fail(error: unknown): void {
    this.messages.drop();
    if (this.closed.aborted) return;
    this.#over();
    this.#out.post(() => this.#other().#ended(fromWire(toWire(error))));
  }

  /** Cuts it off: the reader here gets `error`; the other side sees it break, and loses what was on its way. */
  break(error: Error): void {
    if (this.closed.aborted) return;
    this.messages.end(error);
    this.#over();
    this.#out.clear();
    this.#out.post(() => this.#other().vanish());
  }

  /** The other end is gone. */
  vanish(): void {
    this.messages.end(unavailable('the channel broke: the connection is gone'));
    this.#over();
    this.#out.clear();
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

  #ended(error: Error | undefined): void {
    this.messages.end(error);
    this.#over();
    this.#out.clear();
  }

  #read(size: number): void {
    this.#unread--;
    this.#unreadSize -= size;
    if (this.#unread < WINDOW) this.#wake();
  }

  #over(): void {
    this.#closed.abort();
    this.#wake();
  }

  #wake(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }
}

function copyOf(bytes: Uint8Array): Buffer {
  // says no to what is too large
  bytesLine(bytes);
  return Buffer.from(bytes);
}
