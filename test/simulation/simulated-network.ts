import type { Channel, ChannelHandler, Peer, Transport } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { notFound, unavailable } from '#model/errors.ts';
import type { SeededRandom } from './seeded-random.ts';

/** A link that is cut is noticed by both ends after so long, as by the pings of the real transport. */
const NOTICED_AFTER_MS = 4000;
const REPEAT_MS = 500;

/** Channels between simulated nodes, with delays, cuts and crashes; an address is a node's name. */
export class SimulatedNetwork {
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #handlers = new Map<string, Map<string, ChannelHandler>>();
  readonly #pipes = new Set<Pipe>();
  readonly #cuts = new Set<string>();

  constructor(o: { clock: Clock; random: SeededRandom }) {
    this.#clock = o.clock;
    this.#random = o.random;
  }

  /** A daemon's transport; until `killed` aborts it is reached at the peer's ID. */
  transport(self: Peer, killed: AbortSignal): Transport {
    const methods = new Map<string, ChannelHandler>();
    this.#handlers.set(self.nodeId, methods);
    killed.addEventListener('abort', () => this.#crash(self.nodeId, methods), { once: true });
    return {
      serve: (method, handler) => void methods.set(method, handler),
      open: async (address, method, signal) => {
        await this.#travel(signal);
        if (killed.aborted) throw unavailable('the daemon was killed');
        const handler = this.#handlers.get(address)?.get(method);
        if (this.#isCut(self.nodeId, address) || this.#handlers.get(address) === undefined) {
          await this.#clock.sleep(this.#isCut(self.nodeId, address) ? 1000 : 1, signal);
          throw unavailable(`${address} does not answer`);
        }
        if (handler === undefined) throw notFound(`${address} does not serve ${method}`);
        const pipe = new Pipe({ from: self.nodeId, to: address, network: this });
        this.#pipes.add(pipe);
        handler(pipe.right, self).then(
          () => pipe.right.close(),
          (error: unknown) => pipe.break(error),
        );
        return pipe.left;
      },
    };
  }

  cut(a: string, b: string): void {
    this.#cuts.add(linkOf(a, b));
  }

  heal(): void {
    this.#cuts.clear();
  }

  isCut(a: string, b: string): boolean {
    return this.#isCut(a, b);
  }

  /** A message on its way; resolves when it is there, or with false when it never will be. */
  async carry(pipe: Pipe): Promise<boolean> {
    // what is sent again until the link is back, arrives late
    for (let waited = 0; this.#isCut(pipe.from, pipe.to); waited += REPEAT_MS) {
      if (waited >= NOTICED_AFTER_MS) {
        pipe.break(unavailable('the connection is dead'));
        return false;
      }
      await this.#clock.sleep(REPEAT_MS, NEVER);
    }
    await this.#travel(NEVER);
    return true;
  }

  forget(pipe: Pipe): void {
    this.#pipes.delete(pipe);
  }

  #crash(name: string, methods: Map<string, ChannelHandler>): void {
    if (this.#handlers.get(name) === methods) this.#handlers.delete(name);
    for (const pipe of [...this.#pipes]) {
      if (pipe.from === name || pipe.to === name) pipe.break(unavailable(`${name} is gone`));
    }
  }

  #isCut(a: string, b: string): boolean {
    return this.#cuts.has(linkOf(a, b));
  }

  #travel(signal: AbortSignal): Promise<void> {
    const slow = this.#random.chance(2) ? 200 : 5;
    return this.#clock.sleep(this.#random.between(0, slow), signal);
  }
}

const NEVER = new AbortController().signal;

function linkOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/** Two ends of a channel. */
class Pipe {
  readonly from: string;
  readonly to: string;
  readonly left: End;
  readonly right: End;
  readonly #network: SimulatedNetwork;

  constructor(o: { from: string; to: string; network: SimulatedNetwork }) {
    this.from = o.from;
    this.to = o.to;
    this.#network = o.network;
    this.left = new End(
      (message) => this.#send(this.right, message),
      () => this.#close(this.right),
    );
    this.right = new End(
      (message) => this.#send(this.left, message),
      () => this.#close(this.left),
    );
  }

  break(error: unknown): void {
    this.#network.forget(this);
    this.left.end(error);
    this.right.end(error);
  }

  async #send(to: End, text: string): Promise<void> {
    const arrival = to.arriving.then(async () => {
      if (await this.#network.carry(this)) to.deliver(JSON.parse(text));
    });
    to.arriving = arrival;
    await arrival;
  }

  #close(other: End): void {
    this.#network.forget(this);
    other.arriving = other.arriving.then(() => other.end(undefined));
  }
}

class End implements Channel {
  arriving: Promise<void> = Promise.resolve();
  readonly messages: AsyncIterable<unknown>;
  readonly #closed = new AbortController();
  readonly #send: (message: string) => Promise<void>;
  readonly #onClose: () => void;
  readonly #queue: unknown[] = [];
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(send: (message: string) => Promise<void>, onClose: () => void) {
    this.#send = send;
    this.#onClose = onClose;
    this.messages = this.#read();
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  async send(message: unknown): Promise<void> {
    if (this.closed.aborted) throw unavailable('the channel is over');
    await this.#send(JSON.stringify(message));
  }

  close(): void {
    if (this.closed.aborted) return;
    this.#onClose();
    this.end(undefined);
  }

  deliver(message: unknown): void {
    if (this.closed.aborted) return;
    this.#queue.push(message);
    this.#wake?.();
  }

  end(error: unknown): void {
    if (this.closed.aborted) return;
    this.#error = error;
    this.#closed.abort();
    this.#wake?.();
  }

  async *#read(): AsyncGenerator<unknown> {
    for (;;) {
      while (this.#queue.length > 0) yield this.#queue.shift();
      if (this.closed.aborted) {
        if (this.#error !== undefined) throw this.#error;
        return;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }
}
