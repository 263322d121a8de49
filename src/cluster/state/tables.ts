import type { AttachmentRecord } from '#model/attachment.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { ConfigRecord, SecretRecord } from '#model/secret.ts';
import type { ServiceRecord, ServiceRevision } from '#model/service.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import type { TaskRecord } from '#model/task.ts';

/** What a cluster keeps: a record of table T and ID lies under `T/ID` in the store, as JSON. */
export interface Tables {
  swarm: SwarmRecord;
  node: NodeRecord;
  service: ServiceRecord;
  revision: ServiceRevision;
  task: TaskRecord;
  network: ClusterNetworkRecord;
  secret: SecretRecord;
  config: ConfigRecord;
  release: ReleaseRecord;
  attachment: AttachmentRecord;
}

export type TableName = keyof Tables;

export const TABLE_NAMES: readonly TableName[] = [
  'swarm',
  'node',
  'service',
  'revision',
  'task',
  'network',
  'secret',
  'config',
  'release',
  'attachment',
];

/** A record and the revision of the commit that wrote it, which Docker's API shows as `Version.Index`. */
export interface Versioned<T> {
  readonly record: T;
  readonly revision: number;
}

/** A record that is to be written, or to go. It is checked to be still as the view that the decision was made on shows it. */
export type Write = {
  [T in TableName]:
    | { readonly table: T; readonly put: Tables[T] }
    | { readonly table: T; readonly delete: string };
}[TableName];

/** One change that a view went through. `before` and `after` are undefined for what was made and what went. */
export type ViewChange = {
  [T in TableName]: {
    readonly table: T;
    readonly id: string;
    readonly before: Tables[T] | undefined;
    readonly after: Tables[T] | undefined;
  };
}[TableName];

/**
 * The name that has to be the only one of its table; undefined for tables whose records have none. A service that is being removed
 * gives its name up at once: as with Docker, the next one of that name can be made while its tasks are ended. A network keeps its name
 * as long as it is on nodes, where names tell networks apart.
 */
export function nameOf(write: Exclude<Write, { delete: string }>): string | undefined {
  switch (write.table) {
    case 'service':
      return write.put.removing === true ? undefined : write.put.Spec.Name;
    case 'secret':
    case 'config':
      return write.put.Spec.Name;
    case 'network':
      return write.put.Name;
    case 'swarm':
    case 'node':
    case 'revision':
    case 'task':
    case 'release':
    case 'attachment':
      return undefined;
  }
}
