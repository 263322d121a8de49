import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startLasting } from '#engine/runtime/process-launcher.ts';
import { uptimeMs } from '#linux/uptime.ts';
import { unavailable } from '#model/errors.ts';
import { FenceDirectory } from './fence-directory.ts';

/** Ends single writers when their lease is not renewed, whatever becomes of this daemon. */
export interface TaskFence {
  /**
   * From now on the processes in the task's cgroup end with the lease; to be called before they start. Safe to repeat.
   * `unavailable` while there is no lease: a single writer must not start then.
   */
  guard(task: { taskId: string; cgroup: string }): Promise<void>;
  /** The task's processes are over. One that is not guarded is success. */
  release(taskId: string): void;
  guarded(): readonly string[];
}

const KEEPER = fileURLToPath(new URL('./fence-keeper.ts', import.meta.url));

/**
 * The lease that this node's single writers live on. The agent renews it whenever it has heard of a leader; when it runs out, a keeper
 * process kills them: within a second where the daemon is dead, hangs, or was not renewed by choice. With no single writer there is no
 * process, and nothing is written.
 */
export class Fence implements TaskFence {
  readonly #path: string;
  readonly #directory: FenceDirectory;
  readonly #guarded: Set<string>;
  #validUntilMs: number;
  #startingKeeper: Promise<void> | undefined;

  /** Goes on with what a daemon before this one guarded. */
  constructor(o: { execRoot: string }) {
    this.#path = join(o.execRoot, 'fence');
    this.#directory = new FenceDirectory(this.#path);
    this.#directory.make();
    this.#guarded = new Set(this.#directory.tasks()?.keys());
    this.#validUntilMs = this.#directory.validUntilMs();
  }

  /**
   * The lease is good for `validMs` from now; never for less than it was. Rejects with `unavailable` when the keeper is gone and cannot
   * be started again: single writers are better ended then.
   */
  async renew(validMs: number): Promise<void> {
    this.#validUntilMs = Math.max(this.#validUntilMs, uptimeMs() + validMs);
    if (this.#guarded.size === 0) return;
    this.#directory.extendTo(this.#validUntilMs);
    await this.#keep();
  }

  /** Whether single writers may run now. */
  isValid(): boolean {
    return uptimeMs() < this.#validUntilMs;
  }

  async guard({ taskId, cgroup }: { taskId: string; cgroup: string }): Promise<void> {
    if (!this.isValid()) {
      throw unavailable(`task ${taskId} is a single writer, and the node has not heard of a manager lately`);
    }
    this.#guarded.add(taskId);
    // the lease first: a keeper that finds the task finds it good
    this.#directory.extendTo(this.#validUntilMs);
    this.#directory.add(taskId, cgroup);
    await this.#keep();
  }

  release(taskId: string): void {
    if (this.#guarded.delete(taskId)) this.#directory.delete(taskId);
  }

  guarded(): readonly string[] {
    return [...this.#guarded];
  }

  /** Resolves when a keeper is there; several at once start one. */
  async #keep(): Promise<void> {
    if (this.#directory.hasKeeper()) return;
    this.#startingKeeper ??= startLasting(KEEPER, [this.#path]).finally(() => {
      this.#startingKeeper = undefined;
    });
    await this.#startingKeeper;
  }
}
