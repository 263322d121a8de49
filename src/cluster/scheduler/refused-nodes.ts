import { FILTERS, refusalSummary } from './filters.ts';
import { PASSES } from './node-filter.ts';
import type { NodeLoad } from './node-load.ts';

/** Which filter refused a group of tasks which node: a byte a node, so that a change of one node is taken in without asking the others. */
export class RefusedNodes {
  /** How far the touched nodes are taken in. */
  readUntil = 0;
  /** By slot: one more than the filter's index; 0 for nodes that are not counted. */
  #refusing = new Uint8Array(0);
  readonly #counts = FILTERS.map(() => 0);
  #reason: string | undefined;

  /** `refusing` is an index of FILTERS, or {@link PASSES} for a node that is not refused or not there. */
  set(node: NodeLoad, refusing: number): void {
    if (node.slot >= this.#refusing.length) {
      const grown = new Uint8Array(Math.max(16, 2 * this.#refusing.length, node.slot + 1));
      grown.set(this.#refusing);
      this.#refusing = grown;
    }
    if (this.#refusing[node.slot] === refusing + 1) return;
    this.#add((this.#refusing[node.slot] ?? 0) - 1, -1);
    this.#refusing[node.slot] = refusing + 1;
    this.#add(refusing, 1);
    this.#reason = undefined;
  }

  /** One sentence in Swarm's form. */
  get reason(): string {
    this.#reason ??= refusalSummary(this.#counts);
    return this.#reason;
  }

  #add(filter: number, amount: 1 | -1): void {
    if (filter !== PASSES) this.#counts[filter] = (this.#counts[filter] ?? 0) + amount;
  }
}
