import { internal } from '#model/errors.ts';
import { isJson, numberIn, textIn } from './json-object.ts';
import type { Store } from './store.ts';
import { checkComplete, claimStore, copied, copyInto } from './store-copy.ts';

/** In the new store, once it has everything: where it came from. */
const MOVED = 'store/moved';

/** A store that can be closed for writing for good, on disk. */
export interface SealableStore extends Store {
  /** Names it among all stores. */
  readonly id: string;
  /** Refuses commits from now on with `unavailable`, naming `successor`, and ends all leases. Repeating it changes nothing. */
  seal(successor: string): void;
}

export interface StoreMove {
  /** The old store's {@link SealableStore.id}. */
  readonly source: string;
  /** The last of the old store: the new one counts its own, which may be smaller. */
  readonly sourceRevision: number;
  readonly count: number;
}

/**
 * Moves all of a store into an empty one. The old one is sealed first, so that nothing is written that the new one would not have; in the
 * end the new one says that it is complete. Cut off anywhere, repeating it finishes; once finished, repeating it changes nothing.
 * Entries that go with a lease are not moved: who they speak of has to come to the new store.
 *
 * `conflict` for a target that has something else in it. `successor` is where the new store is, as people read it.
 */
export async function moveStore(o: {
  readonly from: SealableStore;
  readonly to: Store;
  readonly successor: string;
}): Promise<StoreMove> {
  const { from, to } = o;
  const done = await findMove(to);
  if (done?.source === from.id) {
    from.seal(o.successor);
    return done;
  }
  const source = `the store ${from.id}`;
  // before the old store is closed it is known that the new one can be written, and is ours
  await claimStore(to, source);
  from.seal(o.successor);
  const { revision, entries } = await from.list('');
  checkComplete(entries);
  const moved = (count: number): StoreMove => ({ source: from.id, sourceRevision: revision, count });
  const { count } = await copyInto(to, {
    ...{ source, entries: copied(entries) },
    last: (copiedCount) => ({ key: MOVED, value: JSON.stringify(moved(copiedCount)) }),
  });
  return moved(count);
}

/** The move that filled a store; undefined for one that no other was moved into, or not completely. */
export async function findMove(store: Store): Promise<StoreMove | undefined> {
  const entry = await store.get(MOVED);
  if (entry === undefined) return undefined;
  const value: unknown = JSON.parse(entry.value);
  if (!isJson(value)) throw internal(`the store has no sense under ${MOVED}: ${entry.value}`);
  return {
    source: textIn(value, 'source'),
    ...{ sourceRevision: numberIn(value, 'sourceRevision'), count: numberIn(value, 'count') },
  };
}
