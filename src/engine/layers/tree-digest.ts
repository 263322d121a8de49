import { createHash, type Hash } from 'node:crypto';
import { type BigIntStats, closeSync, mkdirSync, openSync, readlinkSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { listAttributes } from '#linux/extended-attributes.ts';
import { type SelectedEntry, selectEntries, type TreeSelection } from './tree-selection.ts';

export interface TreeDigestTask {
  selection: TreeSelection;
  /** Whether the files' owners count. */
  owners: boolean;
  /** File of the known digests; without it every file is read. */
  known?: string;
}

export interface TreeDigestResult {
  /** `sha256:…` of names, modes, attributes and content: equal trees have equal digests, times do not count. */
  digest: string;
  entries: number;
  bytes: number;
}

/** Synchronous inside: for workers. */
export async function digestTree(task: TreeDigestTask): Promise<TreeDigestResult> {
  using known = task.known === undefined ? undefined : new KnownDigests(task.known);
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  const links = new Map<string, string>();
  let entries = 0;
  let bytes = 0;
  for (const entry of selectEntries(task.selection)) {
    entries += 1;
    if (entry.stats.isFile()) bytes += Number(entry.stats.size);
    addEntry(hash, entry, task.owners, (each) => contentDigest(each, buffer, known), links);
  }
  return { digest: `sha256:${hash.digest('hex')}`, entries, bytes };
}

function addEntry(
  hash: Hash,
  { file, target, stats, isNamedFile }: SelectedEntry,
  owners: boolean,
  contentOf: (entry: { file: string; stats: BigIntStats }) => string,
  links: Map<string, string>,
): void {
  const fields = [target, String(stats.mode), String(isNamedFile)];
  if (owners) fields.push(String(stats.uid), String(stats.gid));
  if (stats.isSymbolicLink()) fields.push(readlinkSync(file));
  else if (stats.isCharacterDevice() || stats.isBlockDevice()) fields.push(String(stats.rdev));
  else if (stats.isFile()) {
    const identity = `${stats.dev}:${stats.ino}`;
    const digest = (stats.nlink > 1n ? links.get(identity) : undefined) ?? contentOf({ file, stats });
    if (stats.nlink > 1n) links.set(identity, digest);
    fields.push(digest);
  }
  // A file's are in its digest.
  if (!stats.isFile()) fields.push(...attributesOf(file));
  hash.update(`${fields.map((field) => `${field.length}:${field}`).join('')}\n`);
}

/** Names and values, but for overlayfs's own marks. */
function attributesOf(file: string): string[] {
  return listAttributes(file)
    .filter(({ name }) => !name.startsWith('trusted.overlay.'))
    .flatMap(({ name, value }) => [name, Buffer.from(value).toString('hex')]);
}

/** Of what is in a file, and of its attributes, which change its ctime as well. */
function contentDigest(
  { file, stats }: { file: string; stats: BigIntStats },
  buffer: Buffer,
  known: KnownDigests | undefined,
): string {
  const found = known?.find(stats);
  if (found !== undefined) return found;
  const hash = createHash('sha256');
  const fd = openSync(file, 'r');
  try {
    for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer))
      hash.update(buffer.subarray(0, length));
  } finally {
    closeSync(fd);
  }
  for (const field of attributesOf(file)) hash.update(`\0${field.length}:${field}`);
  const digest = hash.digest('base64url');
  known?.remember(stats, digest);
  return digest;
}

/** A file that changed after this long ago may change again without its time telling. */
const SETTLED_NS = 2_000_000_000n;
const MOST_KNOWN = 2_000_000;

/** Digests of files that have not changed since they were read, by inode, size and times. */
class KnownDigests implements Disposable {
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #put: StatementSync;
  readonly #now = BigInt(Date.now()) * 1_000_000n;

  constructor(file: string) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#database = new DatabaseSync(file, { timeout: 10_000 });
    this.#database.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE IF NOT EXISTS digests (inode TEXT PRIMARY KEY, state TEXT NOT NULL, digest TEXT NOT NULL) STRICT, WITHOUT ROWID',
    );
    this.#get = this.#database.prepare('SELECT state, digest FROM digests WHERE inode = ?');
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO digests VALUES (?, ?, ?)');
    this.#database.exec('BEGIN');
  }

  find(stats: BigIntStats): string | undefined {
    const row = this.#get.get(inodeOf(stats));
    return row?.['state'] === stateOf(stats) ? String(row['digest']) : undefined;
  }

  remember(stats: BigIntStats, digest: string): void {
    if (this.#now - stats.ctimeNs < SETTLED_NS) return;
    this.#put.run(inodeOf(stats), stateOf(stats), digest);
  }

  [Symbol.dispose](): void {
    this.#database.exec('COMMIT');
    const rows = Number(this.#database.prepare('SELECT count(*) AS rows FROM digests').get()?.['rows']);
    if (rows > MOST_KNOWN) this.#database.exec('DELETE FROM digests');
    this.#database.close();
  }
}

function inodeOf(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}`;
}

function stateOf(stats: BigIntStats): string {
  return `${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}
