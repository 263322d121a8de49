import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Tables } from '#cluster/state/tables.ts';
import { ambiguous, noSuch } from './control-errors.ts';

/** Tables whose records a client names, by ID, name or the beginning of an ID. */
type Named = 'service' | 'task' | 'node' | 'network' | 'secret' | 'config';

/**
 * The one record that `reference` means: its ID, else its name, else the beginning of its ID. `not-found`; `invalid` when there are
 * several. Costs a look at the index, or at the whole table where neither ID nor name is given.
 */
export function findRecord<T extends Named>(
  view: ClusterView,
  table: T,
  reference: string,
  nameOf: (record: Tables[T]) => string | undefined = () => undefined,
): Tables[T] {
  const exact = view.get(table, reference) ?? view.named(table, reference);
  if (exact !== undefined && !isGoing(exact)) return exact;
  const all = [...view.all(table)].filter((record) => !isGoing(record));
  const named = all.filter((record) => nameOf(record) === reference);
  const found =
    named.length > 0 ? named : all.filter(({ ID }) => reference !== '' && ID.startsWith(reference));
  const [first, ...more] = found;
  if (first === undefined) throw noSuch(table, reference);
  if (more.length > 0) throw ambiguous(table, reference, found.length);
  return first;
}

/** Services on their way out are there for the controllers only. */
export function isGoing(record: object): boolean {
  return 'removing' in record && record.removing === true;
}
