import { closeSync, mkdirSync } from 'node:fs';
import { Socket } from 'node:net';
import { posix } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FileChange } from '#engine/layers/directory-changes.ts';
import type { PathStatus } from '#engine/layers/view-tasks.ts';
import { lookUpUser } from '#engine/runtime/user-lookup.ts';
import type { ViewRequest } from '#linux/directory-view.ts';
import { makePipe } from '#linux/pipe.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { cancelled, conflict, invalid, kindOf, notFound } from '#model/errors.ts';
import { publishContainerEvent } from './container-events.ts';
import { mountsToView } from './container-mounts.ts';
import type { ContainerParts } from './container-parts.ts';
import type { StoredContainer } from './container-table.ts';

/**
 * The files of a container, running or not, as it sees them but for what only its own mount namespace has (tmpfs, proc, sys).
 * Paths are resolved inside, whatever the container does meanwhile. The container may start, end and be removed; to be disposed of.
 */
export class ContainerFiles implements Disposable {
  readonly #parts: ContainerParts;
  readonly #record: StoredContainer;
  readonly #view: number;
  readonly #rootfs: string;
  readonly #closers: DisposableStack;

  private constructor(
    parts: ContainerParts,
    record: StoredContainer,
    o: { view: number; rootfs: string; closers: DisposableStack },
  ) {
    this.#parts = parts;
    this.#record = record;
    this.#view = o.view;
    this.#rootfs = o.rootfs;
    this.#closers = o.closers;
  }

  /** With `withMounts` volumes and binds are there. A container that is being removed is a `conflict`. */
  static async open(
    parts: ContainerParts,
    record: StoredContainer,
    o: { withMounts: boolean; readOnly: boolean },
  ): Promise<ContainerFiles> {
    checkNotRemoved(parts, record);
    using closers = new DisposableStack();
    const { path: rootfs } = closers.use(parts.filesystems.hold(record.id, diffIdsOf(parts, record)));
    const mounts = o.withMounts ? await mountsToView(parts, record, rootfs) : [];
    const request = {
      root: rootfs,
      readOnly: o.readOnly || record.hostConfig.ReadonlyRootfs,
      mounts: o.readOnly ? mounts.map((mount) => ({ ...mount, readOnly: true })) : mounts,
    };
    const view = await openView(parts, request, closers);
    return new ContainerFiles(parts, record, { view, rootfs, closers: closers.move() });
  }

  [Symbol.dispose](): void {
    this.#closers.dispose();
  }

  /** What a path means, links at its end not followed; `not-found` in Docker's words. */
  stat(path: string): Promise<PathStatus> {
    return this.#stat(path, false);
  }

  async #stat(path: string, follow: boolean): Promise<PathStatus> {
    try {
      const asked = { root: this.#view, path: absolute(path), follow };
      return await this.#parts.copies.run('statInView', asked);
    } catch (cause) {
      if (kindOf(cause) !== 'not-found') throw cause;
      throw notFound(`Could not find the file ${path} in container ${this.#record.id}`, { cause });
    }
  }

  /** Writes a tar archive of a path, or of all there is; the sink is not ended. */
  async send(path: string | undefined, sink: Writable): Promise<void> {
    const pipe = makePipe();
    const source = new Socket({ fd: pipe.read, readable: true, writable: false });
    const sending = this.#parts.copies.run('sendFromView', {
      root: this.#view,
      path: path === undefined ? undefined : absolute(path),
      output: pipe.write,
    });
    const [sent, taken] = await Promise.allSettled([sending, pipeline(source, sink, { end: false })]);
    if (taken.status === 'rejected') throw cancelled('the client left', { cause: taken.reason });
    if (sent.status === 'rejected') throw sent.reason;
    if (path !== undefined) publishContainerEvent(this.#parts.events, 'archive-path', this.#record);
  }

  /**
   * Extracts an archive, plain or compressed, into a directory; after an error a part of it is there. `asUser` gives everything to
   * the container's user, where it has one, instead of the archive's owners.
   */
  async receive(path: string, archive: Readable, o: { asUser: boolean; keepsKinds: boolean }): Promise<void> {
    const { isDirectory, resolved } = await this.#stat(path, true);
    if (!isDirectory) throw invalid('extraction point is not a directory');
    this.#checkWritable(resolved);
    const { User } = this.#record.config;
    const pipe = makePipe();
    const sink = new Socket({ fd: pipe.write, readable: false, writable: true });
    const extracting = this.#parts.copies.run('extractInView', {
      root: this.#view,
      into: absolute(path),
      input: pipe.read,
      owner: o.asUser && User !== '' ? lookUpUser(this.#rootfs, User, []) : undefined,
      keepsKinds: o.keepsKinds,
    });
    // Not destroyed with the pipe: who sent it is to hear what was wrong.
    const feeding = pipeline(archive.iterator({ destroyOnReturn: false }), sink);
    const [extracted, fed] = await Promise.allSettled([extracting, feeding]);
    if (fed.status === 'rejected' && !hasCode(fed.reason, 'EPIPE'))
      throw cancelled('the archive did not arrive completely', { cause: fed.reason });
    if (extracted.status === 'rejected') throw extracted.reason;
    publishContainerEvent(this.#parts.events, 'extract-to-dir', this.#record);
  }

  #checkWritable(path: string): void {
    const { mounts, hostConfig } = this.#record;
    const mount = mounts
      .filter(({ Type, Destination }) => Type !== 'tmpfs' && `${path}/`.startsWith(`${Destination}/`))
      .sort((a, b) => b.Destination.length - a.Destination.length)[0];
    if (mount?.RW === false) throw invalid('mounted volume is marked read-only');
    if (mount === undefined && hostConfig.ReadonlyRootfs)
      throw invalid('container rootfs is marked read-only');
  }
}

/** What a container changed of what its image has, by path. */
export async function containerChanges(
  parts: ContainerParts,
  record: StoredContainer,
): Promise<FileChange[]> {
  using closers = new DisposableStack();
  const lowerDirs = parts.filesystems.lowerDirs(diffIdsOf(parts, record));
  const upper = await viewOfWritten(parts, record, closers);
  const lower = await openView(parts, { root: lowerDirs, readOnly: true, mounts: [] }, closers);
  return await parts.copies.run('listChanges', { upper, lower });
}

/** Copies what a container wrote to a directory that is not there yet, as overlayfs keeps it. */
export async function copyWritten(
  parts: ContainerParts,
  record: StoredContainer,
  target: string,
): Promise<void> {
  using closers = new DisposableStack();
  const source = await viewOfWritten(parts, record, closers);
  mkdirSync(target, { mode: 0o755 });
  await parts.copies.run('copyLayer', { source, target });
}

function viewOfWritten(
  parts: ContainerParts,
  record: StoredContainer,
  closers: DisposableStack,
): Promise<number> {
  checkNotRemoved(parts, record);
  const root = parts.filesystems.upperPath(record.id);
  return openView(parts, { root, readOnly: true, mounts: [] }, closers);
}

async function openView(
  parts: ContainerParts,
  request: ViewRequest,
  closers: DisposableStack,
): Promise<number> {
  const { root, namespace } = await parts.copies.run('openView', request);
  closers.adopt(namespace, closeSync);
  return closers.adopt(root, closeSync);
}

function checkNotRemoved(parts: ContainerParts, { id, state }: StoredContainer): void {
  if (state.Dead || state.Status === 'removing' || parts.live(id).removing)
    throw conflict(`container ${id} is marked for removal: its files cannot be reached`);
}

function diffIdsOf(parts: ContainerParts, { imageId }: StoredContainer): readonly string[] {
  return parts.images.resolve(imageId).configuration.rootfs.diff_ids;
}

/** A slash or a dot at the end says that what a link leads to is meant; `normalize` keeps the slash alone. */
function absolute(path: string): string {
  const whole = posix.join('/', path);
  return /(^|\/)\.$/.test(path) ? posix.join(whole, '/').concat('.') : whole;
}
