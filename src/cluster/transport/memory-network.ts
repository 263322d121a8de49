import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import type { Report } from './channel-service.ts';
import { MemoryConnection } from './memory-connection.ts';
import { MemoryTransport } from './memory-transport.ts';
import type { IsAllowed } from './peer-admission.ts';
import type { Peer } from './transport.ts';

export interface MemoryNetworkOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly report: Report;
  /** Milliseconds that anything is on its way, one way; both inclusive. 1 to 5. */
  readonly delayMs?: { readonly least: number; readonly most: number };
  /** Milliseconds until an opening is given up. 5,000. */
  readonly openTimeoutMs?: number;
  /** Milliseconds after which both ends know of a dead connection, and up to a third more. 6,000. */
  readonly deadAfterMs?: number;
}

/**
 * A network in one process, for simulations: nodes at addresses, delays by chance, links that are cut, connections that break, nodes that
 * crash. Everything happens by the clock and the random source given, so that a run repeats. Connections are not shared: each
 * channel has its own, and channels overtake each other.
 */
export class MemoryNetwork {
  readonly clock: Clock;
  readonly random: Random;
  readonly report: Report;
  readonly openTimeoutMs: number;
  readonly #delayMs: { readonly least: number; readonly most: number };
  readonly #deadAfterMs: number;
  readonly #nodes = new Map<string, MemoryTransport>();
  readonly #connections = new Set<MemoryConnection>();
  readonly #cuts = new Set<string>();
  #change = Promise.withResolvers<void>();

  constructor(options: MemoryNetworkOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.report = options.report;
    this.openTimeoutMs = options.openTimeoutMs ?? 5000;
    this.#delayMs = options.delayMs ?? { least: 1, most: 5 };
    this.#deadAfterMs = options.deadAfterMs ?? 6000;
  }

  /** A node at an address, new or after its crash. `peer` is who it is by its certificate; undefined for one that has none yet. */
  node(address: string, peer: Peer | undefined, isAllowed: IsAllowed = () => true): MemoryTransport {
    const transport = new MemoryTransport(this, address, peer, isAllowed);
    this.#nodes.set(address, transport);
    return transport;
  }

  /** From now on nothing gets from one address to the other. What is underway waits; what waits too long is lost with its connection. */
  cut(from: string, to: string): void {
    this.#cuts.add(linkOf(from, to));
    for (const connection of this.#connections)
      if (connection.joins(from, to)) connection.loseContact(this.#deadAfterMs);
  }

  /** Undoes {@link cut}. */
  heal(from: string, to: string): void {
    this.#cuts.delete(linkOf(from, to));
    this.#changed();
  }

  /** Cuts both ways between every address of one side and every one of the other. */
  partition(side: readonly string[], other: readonly string[]): void {
    for (const a of side)
      for (const b of other) {
        this.cut(a, b);
        this.cut(b, a);
      }
  }

  /** Undoes every cut. */
  healAll(): void {
    this.#cuts.clear();
    this.#changed();
  }

  /** Breaks every channel between two addresses, at both ends at once; new ones can be opened. */
  breakConnections(a: string, b: string): void {
    for (const connection of [...this.#connections]) if (connection.joins(a, b)) connection.break();
  }

  /**
   * A node's process is gone: its channels break there at once, at their other ends when that is heard there. With `silently` its machine is
   * gone too: the others only notice that they hear nothing.
   */
  crash(address: string, { silently = false }: { readonly silently?: boolean } = {}): void {
    this.#nodes.get(address)?.crash();
    this.#nodes.delete(address);
    for (const connection of [...this.#connections])
      if (connection.touches(address)) connection.crash(address, silently ? this.#deadAfterMs : undefined);
  }

  /** @package */
  nodeAt(address: string): MemoryTransport | undefined {
    return this.#nodes.get(address);
  }

  /** @package */
  connect(client: string, server: string): MemoryConnection {
    const connection: MemoryConnection = new MemoryConnection(this, client, server, () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    if (this.isCut(client, server) || this.isCut(server, client)) connection.loseContact(this.#deadAfterMs);
    return connection;
  }

  /** @package */
  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(linkOf(from, to));
  }

  /** Resolves when a link is healed. @package */
  get change(): Promise<void> {
    return this.#change.promise;
  }

  /** @package */
  delayMs(): number {
    const { least, most } = this.#delayMs;
    return least + this.random.below(most - least + 1);
  }

  #changed(): void {
    for (const connection of this.#connections) connection.regainContact();
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

function linkOf(from: string, to: string): string {
  return `${from} ${to}`;
}
