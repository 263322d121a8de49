import { type Nftables, NftablesError } from '#linux/nftables.ts';
import {
  type Balances,
  type BalancingTable,
  balancingChanges,
  readBalances,
  wholeBalancing,
} from './balancing-table.ts';

/**
 * A balancing table in the network namespace of the contexts that it is given. What was programmed is remembered and changed by its
 * differences, in one transaction; after the daemon's start it is read from the kernel.
 */
export class Balancer {
  readonly #table: BalancingTable;
  #programmed: Balances | undefined;

  constructor(table: BalancingTable) {
    this.#table = table;
  }

  /** What the kernel has; undefined where the table is missing or was changed by others. */
  read(nftables: Nftables): Balances | undefined {
    let listing: unknown;
    try {
      listing = nftables.list(`list table ip ${this.#table.name}`);
    } catch (error) {
      if (error instanceof NftablesError) return undefined;
      throw error;
    }
    return readBalances(this.#table, listing);
  }

  /** Whether it knows that this is programmed. */
  has(wanted: Balances): boolean {
    return this.#programmed !== undefined && balancingChanges(this.#table, this.#programmed, wanted) === '';
  }

  /** Synchronous, about a millisecond; nothing where nothing differs. */
  program(nftables: Nftables, wanted: Balances): void {
    if (this.has(wanted)) return;
    const programmed = this.#programmed ?? this.read(nftables);
    this.#programmed = undefined;
    try {
      nftables.run(
        programmed === undefined
          ? wholeBalancing(this.#table, wanted)
          : balancingChanges(this.#table, programmed, wanted),
      );
    } catch (error) {
      // Somebody else changed it: a table that is not what it was is made anew.
      if (!(error instanceof NftablesError)) throw error;
      nftables.run(wholeBalancing(this.#table, wanted));
    }
    this.#programmed = wanted;
  }

  /** Forgets what it remembers, so that the next change begins with what is in the kernel. */
  distrust(): void {
    this.#programmed = undefined;
  }

  /** Takes the table away. One that is not there is success. */
  remove(nftables: Nftables): void {
    nftables.run(`add table ip ${this.#table.name}\ndelete table ip ${this.#table.name}\n`);
    this.#programmed = undefined;
  }
}
