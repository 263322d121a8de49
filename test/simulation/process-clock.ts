import type { Channel, ChannelHandler, Transport } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import type { SeededRandom } from './seeded-random.ts';

/** After it stood still, a process finds what is due and what has come in any order, within so many milliseconds. */
const DISORDER_MS = 20;

/**
 * Time as one daemon sees it: with its machine's date, standing still while it is frozen, and over when it is killed. Whoever sleeps in a
 * process that is killed never wakes: nothing is tidied up after a SIGKILL.
 */
export class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #skewMs: () => number;
  readonly #killed: AbortSignal;
  readonly #forever: AbortSignal = new AbortController().signal;
  #frozenUntilMs = 0;

  constructor(o: { clock: Clock; random: SeededRandom; skewMs: () => number; killed: AbortSignal }) {
    this.#clock = o.clock;
    this.#random = o.random;
    this.#skewMs = o.skewMs;
    this.#killed = o.killed;
  }

  nowMs(): number {
    return this.#clock.nowMs() + this.#skewMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  /** From now on, for so long, nothing happens in the process. */
  freeze(ms: number): void {
    this.#frozenUntilMs = Math.max(this.#frozenUntilMs, this.#clock.monotonicMs() + ms);
  }

  get isFrozen(): boolean {
    return this.#frozenUntilMs > this.#clock.monotonicMs();
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal).then(() => this.#goesOn());
  }

  /** Resolves when the process can do something: at once, when it is thawed, or never. */
  awake(): Promise<void> | undefined {
    return this.isFrozen || this.#killed.aborted ? this.#goesOn() : undefined;
  }

  #goesOn(): Promise<void> | undefined {
    // one for each: who waits for it is forgotten with it
    if (this.#killed.aborted) return new Promise(() => undefined);
    if (!this.isFrozen) return undefined;
    const leftMs = this.#frozenUntilMs - this.#clock.monotonicMs() + this.#random.below(DISORDER_MS);
    return this.#clock.sleep(leftMs, this.#forever).then(() => this.#goesOn());
  }
}

/** A daemon's way to the others: what comes waits while the daemon is frozen. */
export class ProcessTransport implements Transport {
  readonly #transport: Transport;
  readonly #clock: ProcessClock;
  readonly #onMessage: (message: unknown) => void;

  /** `onMessage` sees whatever is said to this process on channels that it opened. */
  constructor(o: { transport: Transport; clock: ProcessClock; onMessage: (message: unknown) => void }) {
    this.#transport = o.transport;
    this.#clock = o.clock;
    this.#onMessage = o.onMessage;
  }

  async open(address: string, method: string, signal: AbortSignal, nodeId?: string): Promise<Channel> {
    const channel = await this.#transport.open(address, method, signal, nodeId);
    await this.#clock.awake();
    return channelOf(channel, this.#clock, this.#onMessage);
  }

  serve(method: string, handler: ChannelHandler): void {
    this.#transport.serve(method, async (channel, peer) => {
      await this.#clock.awake();
      await handler(
        channelOf(channel, this.#clock, () => undefined),
        peer,
      );
    });
  }
}

function channelOf(channel: Channel, clock: ProcessClock, onMessage: (message: unknown) => void): Channel {
  return {
    peer: channel.peer,
    remote: channel.remote,
    closed: channel.closed,
    send: (message) => channel.send(message),
    close: () => channel.close(),
    messages: messagesOf(channel, clock, onMessage),
  };
}

async function* messagesOf(
  channel: Channel,
  clock: ProcessClock,
  onMessage: (message: unknown) => void,
): AsyncGenerator<unknown> {
  try {
    for await (const message of channel.messages) {
      await clock.awake();
      onMessage(message);
      yield message;
    }
  } finally {
    await clock.awake();
  }
}
