import { closeSync, ftruncateSync, openSync, readlinkSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { listAttributes } from '#linux/extended-attributes.ts';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid } from '#model/errors.ts';
import { writeWithHoles } from './file-holes.ts';
import { type FileModeChange, fileModeChange } from './file-mode.ts';
import { resolveForCreation } from './resolve-in-root.ts';
import { type SelectedEntry, selectEntries, type TreeSelection } from './tree-selection.ts';

export interface TreeCopyTask {
  selection: TreeSelection;
  /** The root file system that is copied into; nothing outside of it is touched. */
  root: string;
  /** Absolute path inside. A slash at its end makes it a directory. */
  destination: string;
  /** Owner of everything that is made; undefined keeps the source's. */
  owner: { uid: number; gid: number } | undefined;
  /** `--chmod`: octal or symbolic. */
  mode?: string;
  /** More than one source: the destination has to be a directory. */
  isDirectory: boolean;
  /** Later modification times become this one; nanoseconds since the epoch. */
  latestMtimeNs?: bigint;
  /** For what comes out of archives, which bring owners of their own. */
  archiveOwner?: { uid: number; gid: number };
}

export interface TreeCopyResult {
  entries: number;
  bytes: number;
}

/**
 * Copies what is selected, with modes, times, attributes, links and special files; not the files that `skip` names. Synchronous
 * inside: for workers.
 */
export async function copyTree(
  task: TreeCopyTask,
  skip: ReadonlySet<string> = new Set(),
): Promise<TreeCopyResult> {
  using root = new RootedDirectory(task.root);
  const copy = new TreeCopy(root, task);
  for (const entry of selectEntries(task.selection)) if (!skip.has(entry.file)) copy.add(entry);
  copy.finish();
  return { entries: copy.entries, bytes: copy.bytes };
}

class TreeCopy {
  entries = 0;
  bytes = 0;
  readonly #root: RootedDirectory;
  readonly #task: TreeCopyTask;
  readonly #destination: string;
  readonly #asDirectory: boolean;
  readonly #change: FileModeChange;
  readonly #known = new Set<string>(['.']);
  readonly #links = new Map<string, string>();
  readonly #directoryTimes = new Map<string, bigint>();
  readonly #buffer = Buffer.allocUnsafe(1024 * 1024);

  constructor(root: RootedDirectory, task: TreeCopyTask) {
    this.#root = root;
    this.#task = task;
    this.#change = fileModeChange(task.mode);
    const inside = resolveForCreation(task.root, task.destination);
    this.#destination = inside === '' ? '.' : inside;
    this.#asDirectory =
      task.isDirectory ||
      task.selection.parents === true ||
      /(^|\/)\.?$/.test(task.destination) ||
      root.stat(`${this.#destination}/.`)?.isDirectory === true;
  }

  add(entry: SelectedEntry): void {
    try {
      this.#add(entry);
    } catch (cause) {
      if (!hasCode(cause, 'ENOTDIR', 'EEXIST', 'EISDIR', 'ELOOP', 'ENAMETOOLONG')) throw cause;
      throw invalid(`cannot copy to ${JSON.stringify(this.#task.destination)}: ${String(cause)}`, { cause });
    }
  }

  #add(entry: SelectedEntry): void {
    this.entries += 1;
    const path =
      entry.isNamedFile && !this.#asDirectory
        ? this.#destination
        : posix.join(this.#destination, entry.target);
    if (entry.stats.isDirectory()) this.#directory(entry, path);
    else {
      this.#ensureDirectory(posix.dirname(path));
      this.#file(entry, path);
    }
  }

  /** Directories get their times when nothing more is written into them. */
  finish(): void {
    for (const [path, mtimeNs] of this.#directoryTimes) this.#root.setTimes(path, mtimeNs);
  }

  #directory({ file, stats }: SelectedEntry, path: string): void {
    if (this.#known.has(path) && path === '.') return;
    const existing = this.#root.stat(`${path}/.`);
    if (existing === undefined) {
      const self = this.#root.stat(path);
      if (self !== undefined)
        throw invalid(`cannot copy a directory over ${JSON.stringify(`/${path}`)}, which is a file`);
      this.#ensureDirectory(posix.dirname(path));
      this.#root.makeDirectory(path, this.#mode(stats, true));
      const { uid, gid } = this.#owner(stats);
      if (uid !== 0 || gid !== 0) this.#root.setOwner(path, uid, gid);
      for (const { name, value } of attributesOf(file)) this.#root.setAttribute(path, name, value);
      this.#directoryTimes.set(path, this.#mtime(stats));
    }
    this.#known.add(path);
  }

  #file({ file, stats }: SelectedEntry, path: string): void {
    const identity = `${stats.dev}:${stats.ino}`;
    const linked = stats.nlink > 1n ? this.#links.get(identity) : undefined;
    if (linked !== undefined) {
      this.#replacing(path, () => this.#root.makeHardLink(linked, path));
      return;
    }
    if (stats.nlink > 1n) this.#links.set(identity, path);
    const { uid, gid } = this.#owner(stats);
    if (stats.isFile()) {
      this.#regular(file, path, stats, uid, gid);
      return;
    }
    if (stats.isSymbolicLink()) {
      const target = readlinkSync(file);
      this.#replacing(path, () => this.#root.makeSymlink(target, path));
    } else if (stats.isSocket()) return;
    else {
      const device = {
        major: Number((stats.rdev >> 8n) & 0xfffn),
        minor: Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xffffff00n)),
      };
      this.#replacing(path, () => this.#root.makeNode(path, Number(stats.mode), device));
    }
    if (uid !== 0 || gid !== 0) this.#root.setOwner(path, uid, gid);
    for (const { name, value } of attributesOf(file)) this.#root.setAttribute(path, name, value);
    if (!stats.isSymbolicLink()) this.#root.setMode(path, this.#mode(stats, false));
    this.#root.setTimes(path, this.#mtime(stats));
  }

  #regular(file: string, path: string, stats: SelectedEntry['stats'], uid: number, gid: number): void {
    const source = openSync(file, 'r');
    try {
      const target = this.#replacing(path, () => this.#root.createFile(path, 0o600));
      try {
        this.bytes += copyContent(source, target, this.#buffer);
        this.#root.finishFile(target, {
          uid,
          gid,
          mode: this.#mode(stats, false),
          mtimeNs: this.#mtime(stats),
          attributes: attributesOf(file),
        });
      } finally {
        closeSync(target);
      }
    } finally {
      closeSync(source);
    }
  }

  #replacing<T>(path: string, make: () => T): T {
    try {
      return make();
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
      // A file that is written to goes where its link leads; a directory is not given up for a file.
      if (this.#root.stat(path)?.isDirectory === true)
        throw invalid(`cannot copy a file over ${JSON.stringify(`/${path}`)}, which is a directory`);
      this.#root.remove(path);
      return make();
    }
  }

  #ensureDirectory(path: string): void {
    if (this.#known.has(path)) return;
    if (this.#root.stat(`${path}/.`) === undefined) {
      this.#ensureDirectory(posix.dirname(path));
      this.#root.makeDirectory(path, 0o755);
      const { uid, gid } = this.#task.owner ?? { uid: 0, gid: 0 };
      if (uid !== 0 || gid !== 0) this.#root.setOwner(path, uid, gid);
      if (this.#task.latestMtimeNs !== undefined) this.#directoryTimes.set(path, this.#task.latestMtimeNs);
    }
    this.#known.add(path);
  }

  #owner(stats: SelectedEntry['stats']): { uid: number; gid: number } {
    return this.#task.owner ?? { uid: Number(stats.uid), gid: Number(stats.gid) };
  }

  #mode(stats: SelectedEntry['stats'], isDirectory: boolean): number {
    return this.#change(Number(stats.mode) & 0o7777, isDirectory);
  }

  #mtime(stats: SelectedEntry['stats']): bigint {
    const latest = this.#task.latestMtimeNs;
    return latest !== undefined && stats.mtimeNs > latest ? latest : stats.mtimeNs;
  }
}

function attributesOf(file: string): { name: string; value: Uint8Array }[] {
  return listAttributes(file).filter(
    ({ name }) => !name.startsWith('trusted.overlay.') && name !== 'security.selinux',
  );
}

/** Gives the bytes read. */
function copyContent(source: number, target: number, buffer: Buffer): number {
  let done = 0;
  let end = 0;
  for (let length = readSync(source, buffer); length > 0; length = readSync(source, buffer)) {
    end = Math.max(end, writeWithHoles(target, buffer.subarray(0, length), done));
    done += length;
  }
  if (end < done) ftruncateSync(target, done);
  return done;
}
