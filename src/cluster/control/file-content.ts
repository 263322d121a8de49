import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import { invalid } from '#model/errors.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';
import type { ConfigRecord, SecretRecord } from '#model/secret.ts';
import { fileReferences } from './container-spec-check.ts';
import { outOfSequence } from './control-errors.ts';
import { findRecord } from './find-record.ts';

/** What secrets and configs have in common: named content for tasks that never changes. */
export type ContentTable = 'secret' | 'config';

type ContentRecord<T extends ContentTable> = T extends 'secret' ? SecretRecord : ConfigRecord;

const NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/;
const LONGEST_NAME = 64;

export function checkContentName(name: string): void {
  if (name === '') throw invalid('name must be provided');
  if (name.length > LONGEST_NAME || !NAME.test(name)) {
    throw invalid(
      'invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]',
    );
  }
}

/** The bytes of base64 text. `invalid` for what is none, is empty, or is larger than `limitBytes`. */
export function decodeContent(table: ContentTable, text: string, limitBytes: number): Buffer {
  const compact = text.replaceAll(/[\r\n]/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(compact) || compact.length % 4 !== 0)
    throw invalid(`illegal base64 data in the ${table}`);
  const data = Buffer.from(compact, 'base64');
  if (data.length === 0 || data.length > limitBytes)
    throw invalid(`${table} data must be larger than 0 and less than ${limitBytes} bytes`);
  return data;
}

/** Filters: `id` and `name` by their beginnings, `names` whole, `label`. */
export function listContent<T extends ContentTable>(
  view: ClusterView,
  table: T,
  filters: Filters,
): Versioned<ContentRecord<T>>[] {
  const some = (key: string, test: (value: string) => boolean): boolean =>
    filters[key] === undefined || filters[key].length === 0 || filters[key].some(test);
  const all: Iterable<SecretRecord | ConfigRecord> = view.all(table);
  return [...all]
    .filter(
      ({ ID, Spec }) =>
        some('id', (prefix) => ID.startsWith(prefix)) &&
        some('name', (prefix) => Spec.Name.startsWith(prefix)) &&
        some('names', (name) => Spec.Name === name) &&
        matchesLabels(filters, Spec.Labels ?? {}),
    )
    .map((record) => ({
      // what the table of secrets holds is secrets
      record: record as ContentRecord<T>,
      revision: view.revisionOf(table, record.ID),
    }));
}

/**
 * `invalid` when the record is not what the client read, or when more than the labels is to change. Name and content that are sent
 * along, as clients do that deploy a stack again, have to be what they are.
 */
export function checkLabelsOnly(
  view: ClusterView,
  table: ContentTable,
  record: SecretRecord | ConfigRecord,
  o: { version: number; name: string; isSameContent: () => boolean },
): void {
  if (view.revisionOf(table, record.ID) !== o.version) throw outOfSequence();
  if (o.name !== record.Spec.Name || !o.isSameContent()) throw invalid('only updates to Labels are allowed');
}

/** The record, if no service uses it: `invalid` names those that do. */
export function findUnused(view: ClusterView, table: ContentTable, reference: string): string {
  const record: SecretRecord | ConfigRecord = findRecord(view, table, reference);
  const users: string[] = [];
  for (const { Spec, removing } of view.all('service')) {
    const used = fileReferences(Spec.TaskTemplate.ContainerSpec)[table];
    if (removing !== true && used.some(({ id }) => id === record.ID)) users.push(Spec.Name);
  }
  if (users.length === 0) return record.ID;
  const services = users.length === 1 ? 'service' : 'services';
  throw invalid(
    `${table} '${record.Spec.Name}' is in use by the following ${services}: ${users.sort().join(', ')}`,
  );
}
