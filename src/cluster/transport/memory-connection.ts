import { unavailable } from '#model/errors.ts';
import { MemoryChannel } from './memory-channel.ts';
import type { MemoryNetwork } from './memory-network.ts';
import { MemoryPipe } from './memory-pipe.ts';
import type { Peer } from './transport.ts';

/** Two nodes, a pipe each way, and from its acceptance on a channel. It is gone when both ends are over and nothing is on its way. */
export class MemoryConnection {
  readonly #network: MemoryNetwork;
  readonly #client: string;
  readonly #server: string;
  readonly #forget: () => void;
  readonly #gone = new AbortController();
  readonly #toServer: MemoryPipe;
  readonly #toClient: MemoryPipe;
  #ends: { readonly client: MemoryChannel; readonly server: MemoryChannel } | undefined;
  #lost: AbortController | undefined;
  #hasDeadEnd = false;

  constructor(network: MemoryNetwork, client: string, server: string, forget: () => void) {
    this.#network = network;
    this.#client = client;
    this.#server = server;
    this.#forget = forget;
    this.#toServer = this.#pipe(client, server);
    this.#toClient = this.#pipe(server, client);
  }

  joins(a: string, b: string): boolean {
    return (this.#client === a && this.#server === b) || (this.#client === b && this.#server === a);
  }

  touches(address: string): boolean {
    return this.#client === address || this.#server === address;
  }

  /** Happens at the server. */
  tellServer(arrive: () => void): void {
    this.#toServer.post(arrive);
  }

  /** Happens at the client. */
  tellClient(arrive: () => void): void {
    this.#toClient.post(arrive);
  }

  /** Its two ends. */
  accept(
    client: Peer | undefined,
    server: Peer | undefined,
  ): { client: MemoryChannel; server: MemoryChannel } {
    const ends = {
      client: new MemoryChannel(server, this.#server, this.#toServer, (): MemoryChannel => ends.server),
      server: new MemoryChannel(client, this.#client, this.#toClient, (): MemoryChannel => ends.client),
    };
    this.#ends = ends;
    const over = (): void => {
      if (ends.client.closed.aborted && ends.server.closed.aborted) this.end();
    };
    ends.client.closed.addEventListener('abort', over, { once: true });
    ends.server.closed.addEventListener('abort', over, { once: true });
    return ends;
  }

  /** Nothing arrives on it any more. */
  end(): void {
    this.#gone.abort();
    this.#lost?.abort();
    this.#forget();
  }

  /** Both ends break at once. */
  break(): void {
    this.#ends?.client.vanish();
    this.#ends?.server.vanish();
    this.end();
  }

  /** A node is gone; the other one hears of it, or (in a silence of `deadAfterMs`) notices. */
  crash(address: string, deadAfterMs: number | undefined): void {
    const isClient = address === this.#client;
    const [here, there] = isClient
      ? [this.#ends?.client, this.#ends?.server]
      : [this.#ends?.server, this.#ends?.client];
    here?.vanish();
    this.#hasDeadEnd = true;
    const out = isClient ? this.#toServer : this.#toClient;
    out.clear();
    if (there === undefined) this.end();
    else if (deadAfterMs === undefined) out.post(() => there.vanish());
    else this.loseContact(deadAfterMs);
  }

  /** From now on both ends hear nothing of each other. */
  loseContact(deadAfterMs: number): void {
    if (this.#lost !== undefined || this.#gone.signal.aborted) return;
    const lost = new AbortController();
    this.#lost = lost;
    for (const end of ['client', 'server'] as const)
      void this.#notice(
        end,
        deadAfterMs + this.#network.random.below(Math.ceil(deadAfterMs / 3)),
        lost.signal,
      );
  }

  /** A link was healed. */
  regainContact(): void {
    const network = this.#network;
    const isCut = network.isCut(this.#client, this.#server) || network.isCut(this.#server, this.#client);
    if (isCut || this.#hasDeadEnd) return;
    this.#lost?.abort();
    this.#lost = undefined;
  }

  async #notice(end: 'client' | 'server', ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#network.clock.sleep(ms, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    this.#ends?.[end].break(unavailable('the channel broke: nothing is heard of the other side'));
  }

  #pipe(from: string, to: string): MemoryPipe {
    const network = this.#network;
    return new MemoryPipe(
      {
        clock: network.clock,
        delayMs: () => network.delayMs(),
        blocked: () => (network.isCut(from, to) ? network.change : undefined),
      },
      this.#gone.signal,
    );
  }
}
