/**
 * Keys in order, for a store that writes far more often than it lists: adding and removing cost nothing of the size; the first listing
 * after them sorts what was added and merges it in.
 */
export class OrderedKeys {
  #sorted: string[] = [];
  readonly #added = new Set<string>();
  #removed = 0;

  add(key: string): void {
    this.#added.add(key);
  }

  /** A removed key stays among the sorted until there are too many of them: whoever lists looks whether a key is there. */
  remove(key: string): void {
    if (!this.#added.delete(key)) this.#removed += 1;
  }

  /** The keys below a prefix in order, and perhaps removed ones among them; none twice. `isThere` tells which are. */
  *below(prefix: string, isThere: (key: string) => boolean): Generator<string> {
    if (this.#added.size > 0 || this.#removed > this.#sorted.length / 2) this.#settle(isThere);
    const sorted = this.#sorted;
    for (let index = firstFrom(sorted, prefix); index < sorted.length; index += 1) {
      const key = sorted[index] ?? '';
      if (!key.startsWith(prefix)) return;
      yield key;
    }
  }

  #settle(isThere: (key: string) => boolean): void {
    const added = [...this.#added].sort(byCode);
    const merged: string[] = [];
    let next = 0;
    for (const key of this.#sorted) {
      while (next < added.length && (added[next] ?? '') < key) merged.push(added[next++] ?? '');
      // one that was removed and added again stands here already
      if (added[next] === key) next += 1;
      if (isThere(key)) merged.push(key);
    }
    while (next < added.length) merged.push(added[next++] ?? '');
    this.#sorted = merged;
    this.#added.clear();
    this.#removed = 0;
  }
}

function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Where the first key stands that is not before `from`. */
function firstFrom(sorted: readonly string[], from: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
