import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import { bindMount, listMounts, mountFilesystem, unmount } from '#linux/mount.ts';
import { conflict, invalid, messageOf, notFound } from '#model/errors.ts';
import type { VolumeRecord } from '#model/volume.ts';
import { directoryBytes } from './directory-size.ts';
import { checkDriverOptions, type DriverMount, driverMount } from './driver-options.ts';

export interface VolumeRequest {
  /** Absent or empty: a random one. */
  Name?: string;
  Driver?: string;
  DriverOpts?: Record<string, string>;
  Labels?: Record<string, string>;
  /** Made for a container, and removed with it where that is asked for. */
  anonymous?: boolean;
}

/**
 * Volumes of the `local` driver: directories `volumes/<name>/_data`, or what is mounted there.
 *
 * A volume's record is there before its directory and gone before its content, so one that was cut off half-made is
 * finished by its next use and one half-removed is not seen again.
 */
export class VolumeStore {
  readonly #directory: string;
  readonly #trash: string;
  readonly #records: RecordStore;
  readonly #events: EventBus;

  constructor(o: { dataRoot: string; records: RecordStore; events: EventBus }) {
    this.#directory = join(o.dataRoot, 'volumes');
    this.#trash = join(o.dataRoot, 'tmp');
    this.#records = o.records;
    this.#events = o.events;
    for (const path of [this.#directory, this.#trash]) mkdirSync(path, { recursive: true, mode: 0o701 });
  }

  /** Makes a volume, or returns the one of that name. Throws `invalid`, and `not-found` for a foreign driver. */
  create(o: VolumeRequest): VolumeRecord {
    const driver = o.Driver || 'local';
    if (driver !== 'local') {
      throw notFound(`error looking up volume plugin ${driver}: plugin "${driver}" not found`);
    }
    const name = o.Name || randomBytes(32).toString('hex');
    checkName(name);
    const options = o.DriverOpts ?? {};
    checkDriverOptions(name, options);
    const existing = this.#records.get<VolumeRecord>('volume', name);
    if (existing !== undefined) return existing;
    const record: VolumeRecord = {
      Name: name,
      Driver: 'local',
      Mountpoint: join(this.#directory, name, '_data'),
      CreatedAt: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
      Labels: o.Labels ?? {},
      Options: options,
      anonymous: o.anonymous ?? false,
    };
    this.#records.put('volume', name, record);
    makeDirectory(record);
    this.#events.publish('volume', 'create', name, { driver: 'local' });
    return record;
  }

  /** Throws `get x: no such volume`. */
  resolve(name: string): VolumeRecord {
    const record = this.#records.get<VolumeRecord>('volume', name);
    if (record === undefined) throw notFound(`get ${name}: no such volume`);
    return record;
  }

  list(): VolumeRecord[] {
    return this.#records.list<VolumeRecord>('volume');
  }

  /** Makes a volume ready for use: its directory is there, and mounted what its options ask for. Safe to repeat. */
  mount(name: string): VolumeRecord {
    const record = this.resolve(name);
    makeDirectory(record);
    const wanted = driverMount(record.Options);
    if (wanted !== undefined && !isMounted(record.Mountpoint)) {
      try {
        mountOn(record.Mountpoint, wanted);
      } catch (cause) {
        throw invalid(
          `error while mounting volume '${record.Mountpoint}': failed to mount local volume: mount ${wanted.source}:${record.Mountpoint}, data: ${wanted.options}: ${messageOf(cause)}`,
          { cause },
        );
      }
    }
    return record;
  }

  /** Takes away what `mount` mounted, once no running container uses the volume. Safe to repeat. */
  unmount(name: string): void {
    const record = this.#records.get<VolumeRecord>('volume', name);
    if (record !== undefined && Object.keys(record.Options).length > 0) unmount(record.Mountpoint);
  }

  /** Throws `conflict` while `users` (container IDs) is not empty, `not-found` unless forced. */
  async remove(name: string, o: { force: boolean; users: readonly string[] }): Promise<void> {
    const record = this.#records.get<VolumeRecord>('volume', name);
    if (record === undefined) {
      if (o.force) return;
      throw notFound(`get ${name}: no such volume`);
    }
    if (o.users.length > 0) throw conflict(`remove ${name}: volume is in use - [${o.users.join(', ')}]`);
    await this.#discard(record);
  }

  /** Removes every volume that `accept` agrees to; `bytes` is what that freed. */
  async prune(o: {
    accept: (volume: VolumeRecord) => boolean;
  }): Promise<{ deleted: string[]; bytes: number }> {
    const deleted: string[] = [];
    let bytes = 0;
    for (const record of this.list()) {
      if (!o.accept(record)) continue;
      bytes += await directoryBytes(record.Mountpoint);
      // it may have found a user, or its end, while its size was counted
      if (this.#records.get('volume', record.Name) === undefined || !o.accept(record)) continue;
      await this.#discard(record);
      deleted.push(record.Name);
    }
    this.#events.publish('volume', 'prune', '', { reclaimed: String(bytes) });
    return { deleted, bytes };
  }

  async #discard(record: VolumeRecord): Promise<void> {
    this.unmount(record.Name);
    const home = join(this.#directory, record.Name);
    const trash = join(this.#trash, `volume-${randomBytes(8).toString('hex')}`);
    if (existsSync(home)) renameSync(home, trash);
    this.#records.delete('volume', record.Name);
    this.#events.publish('volume', 'destroy', record.Name, { driver: 'local' });
    await rm(trash, { recursive: true, force: true });
  }
}

function checkName(name: string): void {
  if (name.length === 1) {
    throw invalid(
      `create ${name}: volume name is too short, names should be at least two alphanumeric characters`,
    );
  }
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name) || name.length > 255) {
    throw invalid(
      `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }
}

function makeDirectory(record: VolumeRecord): void {
  if (existsSync(record.Mountpoint)) return;
  mkdirSync(record.Mountpoint, { recursive: true, mode: 0o701 });
  // as mkdir would, were it not for the daemon's umask
  chmodSync(record.Mountpoint, 0o755);
}

function mountOn(target: string, wanted: DriverMount): void {
  const { type, source, options, readOnly } = wanted;
  if (wanted.bind) bindMount({ source, target, readOnly });
  else mountFilesystem({ source, target, type, options });
}

function isMounted(path: string): boolean {
  return listMounts().some(({ target }) => target === path);
}
