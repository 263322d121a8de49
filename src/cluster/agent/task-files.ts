import { closeSync, fchmodSync, fchownSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { makeMemoryDirectory } from '#linux/memory-directory.ts';
import { unmountAndRemove } from '#linux/mount.ts';
import type { MountSpec } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { AssignedTask, TaskFile } from './assigned-task.ts';

/** A secret or config of a task, and where it lies in the container. */
export interface PlacedFile {
  /** The file's name in the task's directory. */
  readonly name: string;
  /** Absolute. */
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly data: Buffer;
}

/** Where a task's secrets (/run/secrets) and configs (/) lie, in the order of the assignment. Pure; throws `invalid`. */
export function placedFiles(task: Pick<AssignedTask, 'secrets' | 'configs'>): PlacedFile[] {
  const place = (kind: string, directory: string) => (file: TaskFile, index: number) => ({
    name: `${kind}-${index}`,
    target: targetOf(kind, directory, file.target.Name),
    uid: ownerOf(kind, file.target.Name, file.target.UID),
    gid: ownerOf(kind, file.target.Name, file.target.GID),
    mode: file.target.Mode & 0o7777,
    data: Buffer.from(file.data, 'base64'),
  });
  return [...task.secrets.map(place('secret', '/run/secrets')), ...task.configs.map(place('config', '/'))];
}

function targetOf(kind: string, directory: string, name: string): string {
  const target = posix.resolve(directory, name);
  // `../..` would put a secret over a file that the reader of the spec does not expect
  const isBelow = name.startsWith('/') || target.startsWith(posix.join(directory, '/'));
  if (target === '/' || !isBelow || name.includes('\0')) {
    throw invalid(`invalid ${kind} target: ${JSON.stringify(name)}`);
  }
  return target;
}

function ownerOf(kind: string, name: string, id: string): number {
  if (!/^\d{1,10}$/.test(id === '' ? '0' : id)) {
    throw invalid(`invalid owner of ${kind} ${name}: ${JSON.stringify(id)} is not a number`);
  }
  return Number(id);
}

const TASK_ID = /^[0-9A-Za-z]{1,64}$/;

/**
 * The secrets and configs of this node's tasks: `EXEC/tasks/<task ID>`, one file system in memory each, that never goes to swap.
 * They are gone with the machine's restart, and written again before their task starts. All calls are synchronous.
 */
export class TaskFiles {
  readonly #root: string;

  constructor(o: { execRoot: string }) {
    this.#root = join(o.execRoot, 'tasks');
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
  }

  /** Writes a task's files, also where they are there already; gives the mounts that show them to its container. */
  write(task: AssignedTask): MountSpec[] {
    const files = placedFiles(task);
    if (files.length === 0) return [];
    const directory = this.#path(task.id);
    makeMemoryDirectory(directory);
    for (const file of files) writeFile(join(directory, file.name), file);
    return files.map(({ name, target }) => ({
      Type: 'bind',
      Source: join(directory, name),
      Target: target,
      ReadOnly: true,
    }));
  }

  /** Takes a task's files away. Nothing there is success. */
  remove(taskId: string): void {
    unmountAndRemove(this.#path(taskId));
  }

  /** The tasks that there are files of. */
  tasks(): string[] {
    return readdirSync(this.#root).filter((name) => TASK_ID.test(name));
  }

  #path(taskId: string): string {
    if (!TASK_ID.test(taskId)) throw invalid(`invalid task ID: ${JSON.stringify(taskId)}`);
    return join(this.#root, taskId);
  }
}

function writeFile(path: string, file: PlacedFile): void {
  const fd = openSync(path, 'w', 0o600);
  try {
    writeFileSync(fd, file.data);
    fchownSync(fd, file.uid, file.gid);
    // after the owner, whose change takes the set-ID bits away
    fchmodSync(fd, file.mode);
  } finally {
    closeSync(fd);
  }
}
