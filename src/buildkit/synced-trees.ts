import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { SyncedTree } from './synced-tree.ts';

const MOST_TREES = 16;
const MOST_BYTES = 2 * 2 ** 30;

/** A tree for one build: nobody else changes it until it is disposed of. */
export interface BorrowedTree extends Disposable {
  readonly tree: SyncedTree;
  /** There may be files in it from before. */
  readonly isKept: boolean;
}

/** Copies of clients' directories that are kept from one build to the next: the latest used, up to 16 and 2 GiB. */
export class SyncedTrees {
  readonly #directory: string;
  readonly #discard: (path: string) => void;
  /** The latest used last. */
  readonly #kept = new Map<string, SyncedTree>();
  readonly #borrowed = new Set<string>();
  #count = 0;

  /** `directory` must be empty: what is in a tree is known only to the daemon that made it. `discard` removes a tree by and by. */
  constructor(o: { directory: string; discard: (path: string) => void }) {
    this.#directory = o.directory;
    this.#discard = o.discard;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** The tree of a key; an empty one that is not kept where there is no key, or another build has it. */
  borrow(key: string | undefined): BorrowedTree {
    if (key === undefined || this.#borrowed.has(key)) {
      const tree = this.#make();
      return { tree, isKept: false, [Symbol.dispose]: () => this.#discard(tree.root) };
    }
    const tree = this.#kept.get(key) ?? this.#make();
    this.#kept.delete(key);
    this.#kept.set(key, tree);
    this.#borrowed.add(key);
    return {
      tree,
      isKept: true,
      [Symbol.dispose]: () => {
        this.#borrowed.delete(key);
        if (tree.isBroken) {
          this.#kept.delete(key);
          this.#discard(tree.root);
        }
        this.#makeRoom({ trees: MOST_TREES, bytes: MOST_BYTES });
      },
    };
  }

  #make(): SyncedTree {
    this.#count += 1;
    return new SyncedTree(join(this.#directory, String(this.#count)));
  }

  /** Removes all that no build has. */
  clear(): void {
    this.#makeRoom({ trees: 0, bytes: 0 });
  }

  #makeRoom(most: { trees: number; bytes: number }): void {
    let bytes = this.#kept.values().reduce((sum, tree) => sum + tree.bytes, 0);
    for (const [key, tree] of this.#kept) {
      if (this.#kept.size <= most.trees && bytes <= most.bytes) return;
      if (this.#borrowed.has(key)) continue;
      this.#kept.delete(key);
      bytes -= tree.bytes;
      this.#discard(tree.root);
    }
  }
}
