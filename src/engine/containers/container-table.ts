import { randomBytes } from 'node:crypto';
import type { RecordStore } from '#engine/records/record-store.ts';
import type { ContainerRecord } from '#model/container.ts';
import { conflict, invalid, notFound } from '#model/errors.ts';
import type { StoredMount } from './mount-points.ts';

/** A container as it is stored: with what was being done to it, should the daemon die on the way. */
export interface StoredContainer extends ContainerRecord {
  mounts: StoredMount[];
  /** `create`: it is not to be seen and goes at recovery; `start`: it is cleaned at recovery. */
  unfinished?: 'create' | 'start';
  /** It stands still for a commit, and goes on at recovery. */
  pausedForCommit?: boolean;
  /** While it is removed: whether its anonymous volumes go with it. */
  removesVolumes?: boolean;
  /** Restarts in a row that came after short runs; decides the next back-off. */
  quickRestarts?: number;
}

/**
 * The containers there are. Each is one object that lives as long as the container and is changed in place;
 * `save` writes it down. Names are unique at every moment, as all calls are synchronous.
 */
export class ContainerTable {
  readonly #records: RecordStore;
  readonly #byId = new Map<string, StoredContainer>();
  readonly #idOfName = new Map<string, string>();

  constructor(records: RecordStore) {
    this.#records = records;
    for (const record of records.list<StoredContainer>('container')) this.#remember(record);
  }

  /** Adds and writes a container. Throws Docker's `conflict` when its name is taken. */
  add(record: StoredContainer): void {
    this.#checkNameIsFree(record.name);
    this.#remember(record);
    this.save(record);
  }

  /** Writes what was changed in place. A container that is gone meanwhile stays gone. */
  save(record: StoredContainer): void {
    if (this.#byId.get(record.id) === record) this.#records.put('container', record.id, record);
  }

  rename(record: StoredContainer, name: string): void {
    this.#checkNameIsFree(name);
    this.#idOfName.delete(record.name);
    this.#idOfName.set(name, record.id);
    record.name = name;
    this.save(record);
  }

  delete(record: StoredContainer): void {
    this.#byId.delete(record.id);
    if (this.#idOfName.get(record.name) === record.id) this.#idOfName.delete(record.name);
    this.#records.delete('container', record.id);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  isNameTaken(name: string): boolean {
    return this.#idOfName.has(name);
  }

  /** Every container, those whose creation is not finished too. */
  all(): StoredContainer[] {
    return [...this.#byId.values()];
  }

  /** By ID, by name (with or without its slash), or by a prefix of the ID that only one has. */
  resolve(reference: string): StoredContainer {
    const name = reference.startsWith('/') ? reference.slice(1) : reference;
    const exact = this.#byId.get(reference) ?? this.#byId.get(this.#idOfName.get(name) ?? '');
    if (exact !== undefined && exact.unfinished !== 'create') return exact;
    const matches = /^[0-9a-f]{1,64}$/.test(reference)
      ? this.all().filter(({ id, unfinished }) => id.startsWith(reference) && unfinished !== 'create')
      : [];
    const [only, another] = matches;
    if (only === undefined) throw notFound(`No such container: ${reference}`);
    if (another !== undefined) throw invalid(`Multiple IDs found with provided prefix: ${reference}`);
    return only;
  }

  /** An ID no container has; its short form has a letter in it, so that it cannot be taken for a number. */
  freeId(): string {
    for (;;) {
      const id = randomBytes(32).toString('hex');
      if (!/^\d{12}/.test(id) && !this.#byId.has(id)) return id;
    }
  }

  #remember(record: StoredContainer): void {
    this.#byId.set(record.id, record);
    this.#idOfName.set(record.name, record.id);
  }

  #checkNameIsFree(name: string): void {
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(name)) {
      throw invalid(
        `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, from 2 to 255 characters`,
      );
    }
    const owner = this.#idOfName.get(name);
    if (owner !== undefined) {
      throw conflict(
        `Conflict. The container name "/${name}" is already in use by container "${owner}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    }
  }
}
