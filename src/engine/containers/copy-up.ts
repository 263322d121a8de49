import { type BigIntStats, constants, lstatSync, readdirSync } from 'node:fs';
import {
  chmod,
  copyFile,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  readdir,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import { listAttributes, makeNode, setAttribute } from '#linux/extended-attributes.ts';
import { deviceOf } from '#linux/rooted-directory.ts';

/** Beside `_data` while a copy is not finished: it is then repeated, though the volume is no longer empty. */
const MARKER = 'copying';

/**
 * Copies what the image has at `path` into a volume that is empty, with owners, modes, times, extended attributes,
 * links and special files. The volume's directory takes over the owner and the mode of the image's. A copy that was
 * cut off is done again. Links in `path` are followed inside `rootfs`, as the container would.
 */
export async function copyUp(o: { rootfs: string; path: string; volumeDirectory: string }): Promise<void> {
  const marker = join(dirname(o.volumeDirectory), MARKER);
  if (!needsCopy(o.volumeDirectory, marker)) return;
  const source = resolveInRoot(o.rootfs, o.path);
  if (source === undefined || !lstatSync(source).isDirectory()) return;
  await writeFile(marker, '');
  await new TreeCopy(source, o.volumeDirectory).run();
  await rm(marker, { force: true });
}

function needsCopy(directory: string, marker: string): boolean {
  return readdirSync(directory).length === 0 || lstatSync(marker, { throwIfNoEntry: false }) !== undefined;
}

class TreeCopy {
  readonly #source: string;
  readonly #target: string;
  /** Where the first of several hard links to an inode was copied to. */
  readonly #copied = new Map<bigint, string>();

  constructor(source: string, target: string) {
    this.#source = source;
    this.#target = target;
  }

  async run(): Promise<void> {
    await this.#directory(this.#source, this.#target);
  }

  /** Owner, mode and times of a directory come last, as its entries change them. */
  async #directory(source: string, target: string): Promise<void> {
    for (const name of await readdir(source)) await this.#entry(join(source, name), join(target, name));
    await copyAttributes(source, target, await lstat(source, { bigint: true }));
  }

  async #entry(source: string, target: string): Promise<void> {
    const stats = await lstat(source, { bigint: true });
    if (stats.isDirectory()) {
      await mkdir(target, { recursive: true, mode: 0o700 });
      await this.#directory(source, target);
      return;
    }
    if (stats.isSocket()) return;
    // left by a copy that was cut off
    await rm(target, { recursive: true, force: true });
    const first = this.#copied.get(stats.ino);
    if (first !== undefined) {
      await link(first, target);
      return;
    }
    if (stats.nlink > 1n) this.#copied.set(stats.ino, target);
    if (stats.isSymbolicLink()) await symlink(await readlink(source), target);
    else if (stats.isFile())
      await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    else makeNode(target, Number(stats.mode), deviceOf(stats.rdev));
    await copyAttributes(source, target, stats);
  }
}

async function copyAttributes(source: string, target: string, stats: BigIntStats): Promise<void> {
  await lchown(target, Number(stats.uid), Number(stats.gid));
  for (const { name, value } of listAttributes(source)) {
    // the overlay's own bookkeeping is not the image's
    if (!name.startsWith('trusted.overlay.')) setAttribute(target, name, value);
  }
  if (stats.isSymbolicLink()) {
    await lutimes(target, seconds(stats.atimeNs), seconds(stats.mtimeNs));
    return;
  }
  // after the owner, whose change clears set-user-ID
  await chmod(target, Number(stats.mode) & 0o7777);
  await lutimes(target, seconds(stats.atimeNs), seconds(stats.mtimeNs));
}

function seconds(nanoseconds: bigint): number {
  return Number(nanoseconds) / 1e9;
}
