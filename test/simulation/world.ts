import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { MemoryDatabase } from '#cluster/store/memory-database.ts';
import type { Transaction } from '#cluster/store/store.ts';
import type { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import type { ManualClock } from '#control/manual-clock.ts';

/** The date at the clock's zero: the beginning of 2030. */
export const EPOCH_MS: number = Date.UTC(2030, 0);

/** What all machines of a cluster have in common. */
export interface World {
  readonly clock: ManualClock;
  readonly network: MemoryNetwork;
  readonly database: MemoryDatabase;
  /** Addresses of those that manage, as a view has it. */
  managers(view?: ClusterView): string[];
  /** Nodes that the store counts as its own. */
  members(): readonly { readonly name: string }[];
  /** A node is none of them any more. */
  expel(nodeId: string): void;
  /** A manager that can be reached from there says that the node is none. */
  isDisowned(nodeId: string): boolean;
  /** Milliseconds that a disk takes at most, now. */
  diskMs(): number;
  trace(text: string): void;
  /** A node's process is told something by who says that it leads. */
  onMessage(nodeId: string, message: unknown): void;
  /** A commit of this node is known to have been made. */
  onCommit(nodeId: string, transaction: Transaction, revision: number): void;
}
