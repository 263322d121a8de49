import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { removeTreeSync } from '#linux/remove-tree.ts';
import { cancelled, DroverError, type ErrorKind, internal } from '#model/errors.ts';
import { FileGrowth } from './growing-file.ts';
import type { LayerTasks, WorkerAnswer, WorkerRequest } from './layer-worker.ts';

/** A directory for one piece of work, gone when disposed of. */
export interface WorkDirectory extends Disposable {
  readonly path: string;
}

export function makeWorkDirectory(dataRoot: string): WorkDirectory {
  const path = join(dataRoot, 'tmp', randomBytes(8).toString('hex'));
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return { path, [Symbol.dispose]: () => removeTreeSync(path) };
}

const SPOOLED_AT_ONCE = 4 * 1024 * 1024;

/** Writes what a client sends into a file of a work directory. */
export async function spool(
  source: AsyncIterable<Buffer>,
  file: string,
  signal?: AbortSignal,
): Promise<void> {
  // What comes in while a write is under way goes with the next one, instead of stopping the client for every 64 KiB.
  const output = createWriteStream(file, { mode: 0o600, highWaterMark: SPOOLED_AT_ONCE });
  try {
    await pipeline(source, output, signal === undefined ? {} : { signal });
  } catch (error) {
    throw incompleteArchive(error);
  }
}

export function incompleteArchive(cause: unknown): DroverError {
  return cancelled('the archive did not arrive completely', { cause });
}

/** The growth of a file that is complete already. */
export function completeFile(): SharedArrayBuffer {
  const growth = new FileGrowth();
  growth.complete();
  return growth.shared;
}

const IDLE_MS = 5_000;

interface PooledWorker {
  worker: Worker;
  idle: NodeJS.Timeout | undefined;
}

interface Waiting {
  request: WorkerRequest;
  resolve: (result: never) => void;
  reject: (error: unknown) => void;
}

/**
 * Threads that hash, compress, decompress and unpack, so that the event loop stays free; made when
 * there is work and gone some seconds after the last. Some tasks wait for more of their file: there are twice as many as processors.
 */
export class LayerWorkers implements Disposable {
  readonly #limit: number;
  readonly #idle: PooledWorker[] = [];
  readonly #waiting: Waiting[] = [];
  #count = 0;
  #isClosed = false;

  constructor(o: { limit?: number } = {}) {
    this.#limit = o.limit ?? 2 * Math.max(2, availableParallelism());
  }

  /** Errors keep their kind; others are `internal`. */
  run<K extends keyof LayerTasks>(name: K, task: LayerTasks[K]['task']): Promise<LayerTasks[K]['result']> {
    const { promise, resolve, reject } = Promise.withResolvers<LayerTasks[K]['result']>();
    this.#waiting.push({ request: { name, task }, resolve, reject });
    this.#dispatch();
    return promise;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const { worker, idle } of this.#idle.splice(0)) {
      clearTimeout(idle);
      void worker.terminate();
    }
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const pooled = this.#idle.pop() ?? (this.#count < this.#limit ? this.#start() : undefined);
      if (pooled === undefined) return;
      const next = this.#waiting.shift();
      if (next !== undefined) this.#work(pooled, next);
    }
  }

  #start(): PooledWorker {
    this.#count += 1;
    const worker = new Worker(new URL('./layer-worker.ts', import.meta.url), {
      // Descriptors come from openat2(2) through FFI, which node has not seen opened.
      trackUnmanagedFds: false,
    });
    worker.once('exit', () => {
      this.#count -= 1;
    });
    // Work keeps the daemon busy, not threads that wait for some.
    worker.unref();
    return { worker, idle: undefined };
  }

  #work(pooled: PooledWorker, { request, resolve, reject }: Waiting): void {
    const { worker } = pooled;
    clearTimeout(pooled.idle);
    worker.ref();
    const settle = (work: () => void): void => {
      worker.off('message', answered).off('error', failed).off('exit', exited);
      work();
      this.#dispatch();
    };
    const answered = (answer: WorkerAnswer): void =>
      settle(() => {
        this.#release(pooled);
        // The worker answers what it was asked: the result is the task's.
        if ('done' in answer) resolve(answer.done as never);
        else reject(new DroverError(kind(answer.failed.kind), answer.failed.message));
      });
    const failed = (cause: unknown): void =>
      settle(() => reject(new DroverError('internal', 'work on a layer failed', { cause })));
    const exited = (): void => settle(() => reject(internal('work on a layer ended without a result')));
    worker.on('message', answered).on('error', failed).on('exit', exited);
    worker.postMessage(request);
  }

  #release(pooled: PooledWorker): void {
    if (this.#isClosed) {
      void pooled.worker.terminate();
      return;
    }
    pooled.worker.unref();
    pooled.idle = setTimeout(() => {
      const at = this.#idle.indexOf(pooled);
      if (at < 0) return;
      this.#idle.splice(at, 1);
      void pooled.worker.terminate();
    }, IDLE_MS).unref();
    this.#idle.push(pooled);
  }
}

const KINDS: readonly ErrorKind[] = ['invalid', 'not-found', 'conflict', 'cancelled', 'unavailable'];

function kind(name: string): ErrorKind {
  return KINDS.find((each) => each === name) ?? 'internal';
}
