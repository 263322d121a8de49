import { closeSync, ftruncateSync } from 'node:fs';
import { posix } from 'node:path';
import { type FileStatus, RootedDirectory } from '#linux/rooted-directory.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid } from '#model/errors.ts';
import { writeWithHoles } from './file-holes.ts';
import type { TarEntry } from './tar-header.ts';
import type { TarSink } from './tar-reader.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Several times what the largest images in use have in a layer. */
const MOST_ENTRIES = 1_000_000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

export interface ExtractionOptions {
  /** A layer's `.wh.` names become overlayfs's own marks (overlayfs(5)); elsewhere they are ordinary names. */
  whiteouts: boolean;
  /** Where below the root entries go; default the root. */
  into?: string;
  /** Owner for every entry instead of the archive's. */
  owner?: { uid: number; gid: number };
  /** Permission bits for every entry instead of the archive's. */
  mode?: number;
  /** The directory that entries go to stays as it is, whatever the archive says of it. */
  keepsRoot?: boolean;
  /** A directory is not replaced by something else, nor something else by a directory: that is `invalid`. */
  keepsKinds?: boolean;
}

/** Counts what an archive holds, and refuses one that has too many entries or names that lead out. Writes nothing. */
export class ArchiveCheck implements TarSink {
  #entries = 0;

  entry(entry: TarEntry): void {
    this.#entries += 1;
    if (this.#entries > MOST_ENTRIES)
      throw invalid(`the archive has more than ${MOST_ENTRIES} entries`, {
        hint: 'split it into several layers',
      });
    insideName(entry, '.');
  }

  data(): void {
    // Only names and their number are looked at.
  }

  end(): void {
    // See above.
  }
}

/**
 * Writes the entries of an archive below `root`. Nothing outside of `root` is touched whatever the archive says: names that lead
 * out are refused by name, and every path is resolved inside. After an error the directory holds a part of the archive.
 */
export class ArchiveExtractor implements TarSink, Disposable {
  readonly #root: RootedDirectory;
  readonly #options: ExtractionOptions;
  readonly #check = new ArchiveCheck();
  readonly #known = new Set<string>(['.']);
  readonly #directoryTimes = new Map<string, bigint>();
  #file: { fd: number; entry: TarEntry; end: number } | undefined;
  #size = 0;

  constructor(root: string | number, options: ExtractionOptions) {
    this.#root = new RootedDirectory(root);
    this.#options = options;
  }

  /** Bytes of the files so far. */
  get size(): number {
    return this.#size;
  }

  entry(entry: TarEntry): void {
    this.#check.entry(entry);
    const into = this.#options.into ?? '.';
    const name = insideName(entry, into);
    if (name === into && this.#options.keepsRoot === true && entry.type === 'directory') return;
    this.#named(entry, () => this.#extract(entry, name));
    if (entry.type === 'directory') this.#directoryTimes.set(name, entry.mtimeNs);
  }

  data(bytes: Buffer, position: number): void {
    const file = this.#file;
    if (file === undefined) return;
    file.end = Math.max(file.end, writeWithHoles(file.fd, bytes, position));
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    try {
      if (file.end < file.entry.size) ftruncateSync(file.fd, file.entry.size);
      const { uid, gid } = this.#options.owner ?? file.entry;
      this.#named(file.entry, () =>
        this.#root.finishFile(file.fd, {
          ...file.entry,
          uid,
          gid,
          mode: this.#options.mode ?? file.entry.mode,
        }),
      );
    } finally {
      closeSync(file.fd);
    }
  }

  /** To be called after the last entry: directories get their times, which writing into them has changed. */
  finish(): void {
    for (const [name, mtimeNs] of this.#directoryTimes) {
      if (this.#root.stat(name)?.isDirectory === true) this.#root.setTimes(name, mtimeNs);
    }
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
    this.#root[Symbol.dispose]();
  }

  /** What the archive is to blame for becomes an error that names the entry. */
  #named(entry: TarEntry, work: () => void): void {
    try {
      work();
    } catch (cause) {
      if (!hasCode(cause, ...BLAMED)) throw cause;
      throw invalid(`failed to extract ${JSON.stringify(entry.name)}: ${String(cause)}`, { cause });
    }
  }

  #extract(entry: TarEntry, name: string): void {
    const root = this.#root;
    const parent = posix.dirname(name);
    this.#ensureDirectory(parent);
    const base = posix.basename(name);
    if (this.#options.whiteouts && base.startsWith(WHITEOUT)) {
      if (base === OPAQUE) root.setAttribute(parent, 'trusted.overlay.opaque', Buffer.from('y'));
      else if (!base.startsWith('.wh..wh.')) {
        const hidden = posix.join(parent, base.slice(WHITEOUT.length));
        root.remove(hidden);
        root.makeNode(hidden, S_IFCHR, { major: 0, minor: 0 });
      }
      return;
    }
    this.#size += entry.size;
    // A file says itself when something is in its place.
    const existing = entry.type === 'file' ? undefined : root.stat(name);
    const keeps = existing?.isDirectory === true && entry.type === 'directory';
    if (existing !== undefined && !keeps) this.#replace(entry, name, existing);
    switch (entry.type) {
      case 'file':
        this.#file = { fd: this.#createFile(entry, name), entry, end: 0 };
        return;
      case 'directory':
        if (!keeps) root.makeDirectory(name, entry.mode);
        this.#known.add(name);
        break;
      case 'symlink':
        root.makeSymlink(entry.linkName, name);
        break;
      case 'hardlink':
        root.makeHardLink(
          posix.join(this.#options.into ?? '.', posix.normalize(entry.linkName.replace(/^\/+/, ''))),
          name,
        );
        return;
      case 'character-device':
        root.makeNode(name, S_IFCHR | entry.mode, entry);
        break;
      case 'block-device':
        root.makeNode(name, S_IFBLK | entry.mode, entry);
        break;
      case 'fifo':
        root.makeNode(name, S_IFIFO | entry.mode, { major: 0, minor: 0 });
        break;
    }
    const { uid, gid } = this.#options.owner ?? entry;
    if (keeps || uid !== 0 || gid !== 0) root.setOwner(name, uid, gid);
    // After the owner, because chown(2) clears set-user-ID and file capabilities.
    for (const { name: attribute, value } of entry.attributes) root.setAttribute(name, attribute, value);
    if (entry.type !== 'symlink') root.setMode(name, this.#options.mode ?? entry.mode);
    if (entry.type !== 'directory') root.setTimes(name, entry.mtimeNs);
  }

  #createFile(entry: TarEntry, name: string): number {
    try {
      return this.#root.createFile(name, 0o600);
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
      this.#replace(entry, name, this.#root.stat(name));
      return this.#root.createFile(name, 0o600);
    }
  }

  #replace(entry: TarEntry, name: string, existing: FileStatus | undefined): void {
    if (this.#options.keepsKinds === true && existing !== undefined) checkKind(entry, name, existing);
    if (name === (this.#options.into ?? '.'))
      throw invalid(`invalid archive: ${JSON.stringify(entry.name)} would replace its root`);
    this.#root.remove(name);
    this.#known.delete(name);
  }

  #ensureDirectory(path: string): void {
    if (this.#known.has(path)) return;
    if (this.#root.stat(`${path}/.`) === undefined) {
      this.#ensureDirectory(posix.dirname(path));
      this.#root.makeDirectory(path, 0o755);
    }
    this.#known.add(path);
  }
}

function checkKind(entry: TarEntry, name: string, existing: FileStatus): void {
  const [is, was] = [entry.type === 'directory', existing.isDirectory];
  if (is === was) return;
  const kind = (isDirectory: boolean): string => (isDirectory ? 'directory' : 'non-directory');
  throw invalid(`cannot overwrite ${kind(was)} "/${name}" with ${kind(is)} ${JSON.stringify(entry.name)}`);
}

const BLAMED = [
  'ELOOP',
  'EXDEV',
  'ENOTDIR',
  'ENAMETOOLONG',
  'EEXIST',
  'EISDIR',
  'EPERM',
  'EINVAL',
  'ENOENT',
  'EBUSY',
  'EROFS',
] as const;

/** The entry's normalised name below `into`; refuses names and links that lead out (Docker's checks and words). */
function insideName(entry: TarEntry, into: string): string {
  if (entry.name.includes('\0')) throw invalid(`invalid name in archive: ${JSON.stringify(entry.name)}`);
  const relative = posix.normalize(entry.name.replace(/^\/+/, '')).replace(/\/+$/, '');
  if (leadsOut(relative)) {
    throw invalid(`invalid archive: ${JSON.stringify(entry.name)} is outside of its root`);
  }
  const name = posix.join(into, relative === '' ? '.' : relative);
  if (entry.type === 'symlink') {
    const target = posix.join(posix.dirname(name), entry.linkName);
    if (leadsOut(target))
      throw invalid(`invalid symlink ${JSON.stringify(entry.name)} -> ${JSON.stringify(entry.linkName)}`);
  }
  if (entry.type === 'hardlink' && leadsOut(posix.normalize(entry.linkName.replace(/^\/+/, '')))) {
    throw invalid(`invalid hardlink ${JSON.stringify(entry.name)} -> ${JSON.stringify(entry.linkName)}`);
  }
  return name;
}

function leadsOut(path: string): boolean {
  return path === '..' || path.startsWith('../');
}
