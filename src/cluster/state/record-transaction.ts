import type { Transaction } from '#cluster/store/store.ts';
import { conflict } from '#model/errors.ts';
import { type ClusterView, nameKey, recordKey } from './cluster-view.ts';
import { nameOf, type TableName, type Write } from './tables.ts';

/** A store's key and the revision that it has to have. */
export interface Guard {
  readonly key: string;
  readonly revision: number;
}

/**
 * The transaction that writes records, if each is still what the view shows: what was made or changed in between makes it fail.
 * Names are kept unique with it. `conflict` when a name is another's already.
 */
export function transactionOf(
  view: ClusterView,
  writes: readonly Write[],
  guards: readonly Guard[] = [],
): Transaction {
  const checks = [...guards];
  const puts: { key: string; value: string }[] = [];
  const deletes: string[] = [];
  for (const write of writes) {
    const id = 'put' in write ? write.put.ID : write.delete;
    const key = recordKey(write.table, id);
    checks.push({ key, revision: view.revisionOf(write.table, id) });
    if ('put' in write) puts.push({ key, value: JSON.stringify(write.put) });
    else deletes.push(key);
    const before = knownName(view, write.table, id);
    const after = 'put' in write ? nameOf(write) : undefined;
    if (before === after) continue;
    if (before !== undefined) deletes.push(nameKey(write.table, before));
    if (after === undefined) continue;
    if (view.holderOf(write.table, after) !== undefined)
      throw conflict(`name conflicts with an existing object: ${write.table} ${after} already exists`);
    checks.push({ key: nameKey(write.table, after), revision: 0 });
    puts.push({ key: nameKey(write.table, after), value: id });
  }
  return { checks, puts, deletes };
}

function knownName(view: ClusterView, table: TableName, id: string): string | undefined {
  const known = view.get(table, id);
  return known === undefined
    ? undefined
    : nameOf({ table, put: known } as Exclude<Write, { delete: string }>);
}
