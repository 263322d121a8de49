import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { TableName, ViewChange, Write } from '#cluster/state/tables.ts';
import type { Random } from '#control/random.ts';

/** What a decision may use besides the view. */
export interface DecisionContext {
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  readonly random: Random;
  /** The most writes that are taken, at least 1: who has more to write writes these, and is asked again when they are done. */
  readonly limit: number;
}

export interface Decision {
  readonly writes: readonly Write[];
  /** When to look at the key again though nothing changes (milliseconds since the epoch). */
  readonly againAtMs?: number;
  /** Records that have to be as the view shows them, besides those that are written; none of the latter may change its name then. */
  readonly relies?: readonly { readonly table: TableName; readonly id: string }[];
}

export const NOTHING: Decision = { writes: [] };

/**
 * One of the leader's tasks: from what is to what should be written, one key at a time. A controller may be run twice, late, or by
 * two leaders: what it decides is written only if the records it is about are still those of the view, by who leads.
 */
export interface Controller {
  readonly name: string;
  /**
   * The keys that a change makes dirty. A new leader's controllers see every record of the view as made; there is no other
   * initialisation. Bookkeeping that has to follow the view is done here.
   */
  keysOf(change: ViewChange, view: ClusterView): Iterable<string>;
  reconcile(view: ClusterView, key: string, context: DecisionContext): Decision;
  /** Called once with what makes a key dirty from outside of the view. */
  connect?(dirty: (key: string) => void): void;
}
