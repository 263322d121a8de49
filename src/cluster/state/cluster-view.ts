import type { Change, ChangeBatch, Entry } from '#cluster/store/store.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import type { ServiceRevision } from '#model/service.ts';
import type { TaskRecord } from '#model/task.ts';
import { TABLE_NAMES, type TableName, type Tables, type Versioned, type ViewChange } from './tables.ts';

/**
 * A cluster as the store has it, in memory: records by ID with the indexes that controllers and the API look things up by. It only
 * changes by {@link apply}, so whoever reads it without an `await` in between reads one revision. Every lookup costs what it gives,
 * however many records there are.
 */
export class ClusterView {
  readonly #tables = new Map<TableName, Map<string, Versioned<Tables[TableName]>>>(
    TABLE_NAMES.map((name) => [name, new Map()]),
  );
  /** `name/TABLE/NAME` → the ID that has it. */
  readonly #names = new Map<string, Versioned<string>>();
  readonly #tasksOfService = new Map<string, Set<string>>();
  readonly #tasksOnNode = new Map<string, Set<string>>();
  readonly #attachmentsOnNode = new Map<string, Set<string>>();
  readonly #revisionsOf = new Map<string, Set<string>>();
  #revision = 0;
  #leader: Versioned<string> | undefined;

  /** Of the last commit that is seen here. */
  get revision(): number {
    return this.#revision;
  }

  /** What the leader says of itself, as it stands in the store; undefined while nobody leads. */
  get leader(): string | undefined {
    return this.#leader?.record;
  }

  get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    return this.#table(table).get(id)?.record;
  }

  /** The record with its revision. */
  versioned<T extends TableName>(table: T, id: string): Versioned<Tables[T]> | undefined {
    return this.#table(table).get(id);
  }

  /** 0 for what is not there. */
  revisionOf(table: TableName, id: string): number {
    return this.#table(table).get(id)?.revision ?? 0;
  }

  /** In no order that means anything. */
  *all<T extends TableName>(table: T): Generator<Tables[T]> {
    for (const { record } of this.#table(table).values()) yield record;
  }

  count(table: TableName): number {
    return this.#table(table).size;
  }

  /** Who has a name, and since which revision it is his. */
  holderOf(table: TableName, name: string): Versioned<string> | undefined {
    return this.#names.get(nameKey(table, name));
  }

  /** The record of a name. */
  named<T extends TableName>(table: T, name: string): Tables[T] | undefined {
    const holder = this.holderOf(table, name);
    return holder === undefined ? undefined : this.get(table, holder.record);
  }

  *tasksOfService(serviceId: string): Generator<TaskRecord> {
    yield* this.#tasks(this.#tasksOfService.get(serviceId));
  }

  *tasksOnNode(nodeId: string): Generator<TaskRecord> {
    yield* this.#tasks(this.#tasksOnNode.get(nodeId));
  }

  attachmentsOnNode(nodeId: string): AttachmentRecord[] {
    return [...(this.#attachmentsOnNode.get(nodeId) ?? [])].flatMap((id) => this.get('attachment', id) ?? []);
  }

  revisionsOf(serviceId: string): ServiceRevision[] {
    return [...(this.#revisionsOf.get(serviceId) ?? [])].flatMap((id) => this.get('revision', id) ?? []);
  }

  /** Takes in what the store did next; gives what changed. Keys of other parts of the store are passed over. */
  apply(batch: ChangeBatch): ViewChange[] {
    const changes: ViewChange[] = [];
    for (const change of batch.changes) {
      const seen = change.kind === 'put' ? this.#put(change.entry) : this.#delete(change.key);
      if (seen !== undefined) changes.push(seen);
    }
    this.#revision = Math.max(this.#revision, batch.revision);
    return changes;
  }

  /** Becomes what a listing of the whole store says, which may have been put back to an older state; gives what changed. */
  replace(listing: { revision: number; entries: readonly Entry[] }): ViewChange[] {
    const there = new Set(listing.entries.map(({ key }) => key));
    const gone = [...this.#keys()].filter((key) => !there.has(key));
    const changed = listing.entries.filter(({ key, revision }) => this.#revisionOfKey(key) !== revision);
    const { revision } = listing;
    const deletes = gone.map((key): Change => ({ kind: 'delete', key, revision }));
    const puts = changed.map((entry): Change => ({ kind: 'put', entry }));
    const seen = this.apply({ revision, changes: [...deletes, ...puts] });
    this.#revision = revision;
    return seen;
  }

  *#keys(): Generator<string> {
    for (const [name, table] of this.#tables) for (const id of table.keys()) yield `${name}/${id}`;
    yield* this.#names.keys();
    if (this.#leader !== undefined) yield LEADER_KEY;
  }

  #revisionOfKey(key: string): number {
    if (key === LEADER_KEY) return this.#leader?.revision ?? 0;
    const named = this.#names.get(key);
    if (named !== undefined) return named.revision;
    const [table, id] = splitKey(key);
    return table === undefined ? 0 : this.revisionOf(table, id);
  }

  #put(entry: Entry): ViewChange | undefined {
    if (entry.key.startsWith(NAMES)) {
      this.#names.set(entry.key, { record: entry.value, revision: entry.revision });
      return undefined;
    }
    if (entry.key === LEADER_KEY) this.#leader = { record: entry.value, revision: entry.revision };
    const [table, id] = splitKey(entry.key);
    if (table === undefined) return undefined;
    // what lies under the table's key was written by recordWrite of the same table
    const record = JSON.parse(entry.value) as Tables[typeof table];
    const before = this.get(table, id);
    this.#table(table).set(id, { record, revision: entry.revision });
    return this.#indexed({ table, id, before, after: record } as ViewChange);
  }

  #delete(key: string): ViewChange | undefined {
    if (this.#names.delete(key)) return undefined;
    if (key === LEADER_KEY) this.#leader = undefined;
    const [table, id] = splitKey(key);
    const before = table === undefined ? undefined : this.get(table, id);
    if (table === undefined || before === undefined) return undefined;
    this.#table(table).delete(id);
    return this.#indexed({ table, id, before, after: undefined } as ViewChange);
  }

  #indexed(change: ViewChange): ViewChange {
    if (change.table === 'task') {
      const { id, before, after } = change;
      if (before?.ServiceID !== after?.ServiceID) {
        move(this.#tasksOfService, id, before?.ServiceID, after?.ServiceID);
      }
      if (before?.NodeID !== after?.NodeID) move(this.#tasksOnNode, id, before?.NodeID, after?.NodeID);
    }
    if (change.table === 'revision') {
      move(this.#revisionsOf, change.id, change.before?.serviceId, change.after?.serviceId);
    }
    if (change.table === 'attachment') {
      move(this.#attachmentsOnNode, change.id, change.before?.nodeId, change.after?.nodeId);
    }
    return change;
  }

  *#tasks(ids: Iterable<string> | undefined): Generator<TaskRecord> {
    for (const id of ids ?? []) {
      const task = this.get('task', id);
      if (task !== undefined) yield task;
    }
  }

  #table<T extends TableName>(table: T): Map<string, Versioned<Tables[T]>> {
    return this.#tables.get(table) as Map<string, Versioned<Tables[T]>>;
  }
}

const NAMES = 'name/';
/** Whoever holds this key leads. */
export const LEADER_KEY = 'leader';

/** Where the store keeps whose a name is. */
export function nameKey(table: TableName, name: string): string {
  return `${NAMES}${table}/${encodeURIComponent(name)}`;
}

export function recordKey(table: TableName, id: string): string {
  return `${table}/${id}`;
}

function splitKey(key: string): [TableName | undefined, string] {
  const slash = key.indexOf('/');
  const name = key.slice(0, slash);
  return [TABLE_NAMES.find((table) => table === name), key.slice(slash + 1)];
}

function move(
  index: Map<string, Set<string>>,
  id: string,
  from: string | undefined,
  to: string | undefined,
): void {
  if (from !== undefined && from !== '') {
    const left = index.get(from);
    left?.delete(id);
    if (left?.size === 0) index.delete(from);
  }
  if (to === undefined || to === '') return;
  const there = index.get(to);
  if (there === undefined) index.set(to, new Set([id]));
  else there.add(id);
}
