import { BinaryHeap } from './binary-heap.ts';
import { type Candidate, compareCandidates } from './candidate.ts';
import type { NodeLoad } from './node-load.ts';
import type { SpreadLevel } from './task-requirements.ts';

/** Nodes with the same value, and how many tasks of the service they have together. */
interface Branch {
  readonly value: string;
  tasks: number;
  readonly children: Map<string, Branch>;
  candidates: Candidate[];
  /** Of the branches or, in a leaf, of the candidates below; those that take no more are gone from it. */
  branches: BinaryHeap<Branch> | undefined;
  leaf: BinaryHeap<Candidate> | undefined;
}

/**
 * The candidates of a group of tasks in the order in which they take them. Placement preferences make a tree: at each level the
 * branch with the fewest tasks of the service takes the next, in a leaf the best candidate. A task costs O(log nodes) a level.
 */
export class SpreadTree {
  readonly #root: Branch;
  readonly #path: Branch[] = [];

  /**
   * For at most `wanted` tasks. Keeps and reorders `candidates`. `serviceTasks` counts also on nodes that are no candidates: what they have is spread, too.
   */
  constructor(o: {
    candidates: Candidate[];
    spread: readonly SpreadLevel[];
    serviceTasks: ReadonlyMap<NodeLoad, number>;
    wanted: number;
  }) {
    this.#root = branch('');
    if (o.spread.length === 0) this.#root.candidates = o.candidates;
    else {
      for (const candidate of o.candidates)
        leafOf(this.#root, candidate.node, o.spread).candidates.push(candidate);
      for (const [node, tasks] of o.serviceTasks) count(this.#root, node, tasks, o.spread);
    }
    order(this.#root, o.wanted);
  }

  /** The candidate that takes the next task; undefined when none is left. It stays so until {@link placed}. */
  next(): Candidate | undefined {
    this.#path.length = 0;
    let at = this.#root;
    this.#path.push(at);
    for (let below = at.branches?.top; below !== undefined; below = at.branches?.top) {
      at = below;
      this.#path.push(at);
    }
    return at.leaf?.top;
  }

  /** The next one has taken a task (and is refreshed), or takes none: `takesMore` says whether it may be asked again. */
  placed(tasks: number, takesMore: boolean): void {
    for (let level = this.#path.length - 1; level >= 0; level--) {
      const at = this.#path[level];
      if (at === undefined) continue;
      at.tasks += tasks;
      if (at.leaf !== undefined) {
        if (takesMore) at.leaf.topChanged();
        else at.leaf.removeTop();
      } else if (isEmpty(this.#path[level + 1])) at.branches?.removeTop();
      else at.branches?.topChanged();
    }
  }
}

function branch(value: string): Branch {
  return { value, tasks: 0, children: new Map(), candidates: [], branches: undefined, leaf: undefined };
}

function leafOf(root: Branch, { record }: NodeLoad, spread: readonly SpreadLevel[]): Branch {
  let at = root;
  for (const { read } of spread) {
    const value = record === undefined ? '' : read(record);
    let next = at.children.get(value);
    if (next === undefined) {
      next = branch(value);
      at.children.set(value, next);
    }
    at = next;
  }
  return at;
}

function count(root: Branch, { record }: NodeLoad, tasks: number, spread: readonly SpreadLevel[]): void {
  if (record === undefined) return;
  let at: Branch | undefined = root;
  for (const { read } of spread) {
    at = at.children.get(read(record));
    // no candidate has this value: nothing is placed there
    if (at === undefined) return;
    at.tasks += tasks;
  }
}

function order(at: Branch, wanted: number): void {
  if (at.children.size === 0) {
    at.leaf = new BinaryHeap(best(at.candidates, wanted), compareCandidates);
    return;
  }
  for (const child of at.children.values()) order(child, wanted);
  at.branches = new BinaryHeap([...at.children.values()], compareBranches);
}

/** So many of the candidates: as each takes a task at least, no others are needed, and a few tasks need no order among thousands. */
function best(candidates: Candidate[], wanted: number): Candidate[] {
  if (candidates.length <= wanted) return candidates;
  const worstFirst = new BinaryHeap(candidates.slice(0, wanted), (a, b) => compareCandidates(b, a));
  for (let at = wanted; at < candidates.length; at += 1) {
    const [candidate, worst] = [candidates[at], worstFirst.top];
    if (candidate === undefined || worst === undefined) break;
    if (compareCandidates(candidate, worst) < 0) worstFirst.replaceTop(candidate);
  }
  return [...worstFirst.items];
}

function compareBranches(a: Branch, b: Branch): number {
  return a.tasks - b.tasks || (a.value < b.value ? -1 : 1);
}

function isEmpty(at: Branch | undefined): boolean {
  return (at?.leaf?.size ?? 0) === 0 && (at?.branches?.size ?? 0) === 0;
}
