import { conflict } from '#model/errors.ts';
import type { Entry, Store, Transaction } from './store.ts';

/** Keys that say something of the store itself. They are in no backup and no copy. */
const OWN = 'store/';
/** Holds what is being copied into the store; while it is there the store is not complete. */
const COPYING = `${OWN}copying`;
/** Small enough for an etcd that Drover did not configure. */
const MAX_BYTES = 1024 * 1024;

export type CopiedEntry = Pick<Entry, 'key' | 'value'>;

/** What a copy of a store has: not who is there now (leases), and not what the store says of itself. */
export function copied(entries: readonly Entry[]): Entry[] {
  return entries.filter(({ key, lease }) => lease === undefined && !key.startsWith(OWN));
}

/** `conflict` for a store whose filling was cut off. */
export function checkComplete(entries: readonly Entry[]): void {
  const marker = entries.find(({ key }) => key === COPYING);
  if (marker !== undefined)
    throw conflict(`the store is not complete: copying ${marker.value} into it was cut off`);
}

/**
 * Fills an empty store. Cut off anywhere and repeated with the same `source` it goes on: what is there already is compared. `conflict` for
 * a store that is not empty or is being filled from elsewhere. `last` is written by the commit that completes the copy.
 *
 * Gives the number of entries, and the revision that completed it. Revisions are the target's own.
 */
export async function copyInto(
  target: Store,
  o: {
    readonly source: string;
    readonly entries: Iterable<CopiedEntry> | AsyncIterable<CopiedEntry>;
    last?(count: number): CopiedEntry;
  },
): Promise<{ count: number; revision: number }> {
  const known = await claimStore(target, o.source);
  const marker = await target.get(COPYING);
  const commit = async (writes: Omit<Transaction, 'checks'>): Promise<number> => {
    const checks = [{ key: COPYING, revision: marker?.revision ?? 0 }];
    const result = await target.commit({ ...writes, checks });
    if (result.committed) return result.revision;
    throw conflict(`the store is being filled from elsewhere while ${o.source} is copied into it`);
  };
  let count = 0;
  let [puts, bytes]: [CopiedEntry[], number] = [[], 0];
  const limit = Math.min(target.maxOperations, 5000) - 1;
  for await (const { key, value } of o.entries) {
    count += 1;
    const before = known.get(key);
    known.delete(key);
    if (before === value) continue;
    const size = key.length + Buffer.byteLength(value);
    if (puts.length > 0 && (puts.length >= limit || bytes + size > MAX_BYTES)) {
      await commit({ puts, deletes: [] });
      [puts, bytes] = [[], 0];
    }
    puts.push({ key, value });
    bytes += size;
  }
  if (puts.length > 0) await commit({ puts, deletes: [] });
  // what an earlier attempt wrote and its source had no more when this one began
  const extra = [...known.keys()];
  for (let index = 0; index < extra.length; index += limit)
    await commit({ puts: [], deletes: extra.slice(index, index + limit) });
  const last = o.last === undefined ? [] : [o.last(count)];
  return { count, revision: await commit({ puts: last, deletes: [COPYING] }) };
}

/**
 * Marks a store as one that is being filled from `source`, so that nothing else is; repeating it changes nothing. `conflict` where it is not
 * empty. Gives what an earlier attempt has written.
 */
export async function claimStore(target: Store, source: string): Promise<Map<string, string>> {
  const { entries } = await target.list('');
  const marker = entries.find(({ key }) => key === COPYING);
  const content = copied(entries);
  if (marker === undefined) {
    if (content.length > 0 || entries.some(({ key }) => key.startsWith(OWN)))
      throw conflict('the store is not empty: a copy or a backup only goes into an empty one');
    const checks = [{ key: COPYING, revision: 0 }];
    const puts = [{ key: COPYING, value: source }];
    const claim = await target.commit({ checks, puts, deletes: [] });
    if (!claim.committed) throw conflict('the store is being filled from elsewhere');
  } else if (marker.value !== source)
    throw conflict(`the store is not empty: copying ${marker.value} into it was cut off`, {
      hint: 'Repeat that, or empty the store.',
    });
  return new Map(content.map(({ key, value }) => [key, value]));
}
