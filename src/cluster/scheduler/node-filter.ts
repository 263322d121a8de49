import { FILTERS, type Filter } from './filters.ts';
import type { NodeLoad } from './node-load.ts';
import type { TaskRequirements } from './task-requirements.ts';

/** So many different placements are remembered; more are asked anew each time. */
const REMEMBERED_PLACEMENTS = 256;

/** What {@link NodeFilter.refusing} gives for a node that may take the task. */
export const PASSES = -1;

const STATIC = FILTERS.flatMap((filter, index) => (filter.isStatic ? [index] : []));

interface Asked {
  readonly filter: Filter;
  readonly index: number;
}

/** What static filters said of each node, by its slot, and of which version of it. */
interface Verdicts {
  versions: Float64Array;
  refusing: Int8Array;
}

/**
 * Asks the filters about nodes. What depends on the nodes alone (constraints, platforms) is asked once for each placement and
 * remembered until the node changes, so that a single task of a service costs no more to place than one of many.
 */
export class NodeFilter {
  readonly #remembered = new Map<string, Verdicts>();
  readonly #dynamic = new WeakMap<TaskRequirements, readonly Asked[]>();

  /** A function that says which of {@link FILTERS} (by index) refuses a node first, for tasks that need the same; {@link PASSES} for none. */
  for(need: TaskRequirements, slots: number): (node: NodeLoad, serviceTasks: number) => number {
    const dynamic = this.#dynamicFor(need);
    const verdicts = need.signature === '' ? undefined : this.#verdicts(need.signature, slots);
    return (node, serviceTasks) => {
      if (!node.available) return 0;
      if (verdicts !== undefined) {
        const refusing = staticVerdict(verdicts, node, need);
        if (refusing !== PASSES) return refusing;
      }
      for (const { filter, index } of dynamic) if (!filter.passes(node, need, serviceTasks)) return index;
      return PASSES;
    };
  }

  /** All but the first, which asks whether the node takes tasks at all. */
  #dynamicFor(need: TaskRequirements): readonly Asked[] {
    const known = this.#dynamic.get(need);
    if (known !== undefined) return known;
    const dynamic = FILTERS.flatMap((filter, index) =>
      !filter.isStatic && index > 0 && filter.concerns(need) ? [{ filter, index }] : [],
    );
    this.#dynamic.set(need, dynamic);
    return dynamic;
  }

  #verdicts(signature: string, slots: number): Verdicts {
    const known = this.#remembered.get(signature);
    // the one asked for last is dropped last
    if (known !== undefined) this.#remembered.delete(signature);
    const verdicts = known ?? { versions: new Float64Array(0), refusing: new Int8Array(0) };
    if (verdicts.versions.length < slots) grow(verdicts, slots);
    this.#remembered.set(signature, verdicts);
    if (this.#remembered.size > REMEMBERED_PLACEMENTS) {
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest);
        break;
      }
    }
    return verdicts;
  }
}

function grow(verdicts: Verdicts, slots: number): void {
  const length = Math.max(16, 2 ** Math.ceil(Math.log2(slots)));
  const versions = new Float64Array(length);
  const refusing = new Int8Array(length);
  versions.set(verdicts.versions);
  refusing.set(verdicts.refusing);
  verdicts.versions = versions;
  verdicts.refusing = refusing;
}

function staticVerdict({ versions, refusing }: Verdicts, node: NodeLoad, need: TaskRequirements): number {
  if (versions[node.slot] === node.version) return refusing[node.slot] ?? PASSES;
  const verdict =
    STATIC.find((index) => FILTERS[index]?.concerns(need) && !FILTERS[index]?.passes(node, need, 0)) ??
    PASSES;
  versions[node.slot] = node.version;
  refusing[node.slot] = verdict;
  return verdict;
}
