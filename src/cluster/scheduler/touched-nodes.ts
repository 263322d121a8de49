import type { NodeLoad } from './node-load.ts';

const KEPT_AT_LEAST = 1024;

/**
 * The nodes that may take a task now which they refused before, in the order in which that came about. Each reader remembers how far
 * it has read; one that comes after its part was dropped looks at all nodes instead.
 */
export class TouchedNodes {
  #nodes: NodeLoad[] = [];
  #dropped = 0;
  /** What was answered last: readers who wait come one after the other from the same position. */
  #answer: { position: number; end: number; nodes: ReadonlySet<NodeLoad> } | undefined;

  /** How far one has read who has read everything. */
  get end(): number {
    return this.#dropped + this.#nodes.length;
  }

  add(node: NodeLoad): void {
    this.#nodes.push(node);
  }

  /** Each once; undefined where what came after `position` is not known any more. */
  since(position: number): ReadonlySet<NodeLoad> | undefined {
    if (position < this.#dropped) return undefined;
    const { end } = this;
    if (this.#answer?.position !== position || this.#answer.end !== end)
      this.#answer = { position, end, nodes: new Set(this.#nodes.slice(position - this.#dropped)) };
    return this.#answer.nodes;
  }

  /** Drops the older half when there are more than readers gain by, among so many nodes. */
  trim(nodes: number): void {
    if (this.#nodes.length < Math.max(KEPT_AT_LEAST, 2 * nodes)) return;
    const half = this.#nodes.length >> 1;
    this.#nodes = this.#nodes.slice(half);
    this.#dropped += half;
  }
}
