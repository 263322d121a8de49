import { createHash, type Hash } from 'node:crypto';
import { type BigIntStats, closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import { listAttributes } from '#linux/extended-attributes.ts';
import { KnownDigests } from './known-digests.ts';
import { type SelectedEntry, selectEntries, type TreeSelection } from './tree-selection.ts';

export interface TreeDigestTask {
  selection: TreeSelection;
  /** Whether the files' owners count. */
  owners: boolean;
  /** File of the known digests, which was made; without it every file is read. */
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

/** Adds all that a layer made of an entry would show of it, but for its times. @package */
export function addEntry(
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

/** Of what is in a file, and of its attributes, which change its ctime as well. @package */
export function contentDigest(
  { file, stats }: { file: string; stats: BigIntStats },
  buffer: Buffer,
  known?: KnownDigests,
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
