/** A heap with the least element on top: making one costs O(n), everything else O(log n). */
export class BinaryHeap<T> {
  readonly #items: T[];
  readonly #compare: (a: T, b: T) => number;

  /** Keeps and reorders `items`. */
  constructor(items: T[], compare: (a: T, b: T) => number) {
    this.#items = items;
    this.#compare = compare;
    for (let at = (items.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  get size(): number {
    return this.#items.length;
  }

  /** The least. */
  get top(): T | undefined {
    return this.#items[0];
  }

  /** To be called when the top was changed and may be greater than others now. */
  topChanged(): void {
    this.#sink(0);
  }

  replaceTop(item: T): void {
    this.#items[0] = item;
    this.#sink(0);
  }

  removeTop(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.#sink(0);
  }

  /** In no order that means anything. */
  get items(): readonly T[] {
    return this.#items;
  }

  #sink(from: number): void {
    const items = this.#items;
    const item = items[from];
    if (item === undefined) return;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      let least = items[child];
      if (least === undefined) break;
      const right = items[child + 1];
      if (right !== undefined && this.#compare(right, least) < 0) {
        child += 1;
        least = right;
      }
      if (this.#compare(item, least) <= 0) break;
      items[at] = least;
      at = child;
    }
    items[at] = item;
  }
}
