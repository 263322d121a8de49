import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { cancelled, DroverError, internal, invalid } from '#model/errors.ts';
import type { UnpackAnswer, UnpackResult, UnpackTask } from './unpack-worker.ts';

/** A directory for one unpacking, gone when disposed of. */
export interface WorkDirectory extends Disposable {
  readonly path: string;
}

export function makeWorkDirectory(dataRoot: string): WorkDirectory {
  const path = join(dataRoot, 'tmp', randomBytes(8).toString('hex'));
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Writes a stream from a client into a file of a work directory. */
export async function spool(source: Readable, file: string, signal?: AbortSignal): Promise<void> {
  try {
    await pipeline(source, createWriteStream(file, { mode: 0o600 }), signal === undefined ? {} : { signal });
  } catch (error) {
    throw cancelled('the archive did not arrive completely', { cause: error });
  }
}

/**
 * Decompresses, hashes and unpacks an archive file in a thread of its own, so that the event loop stays free. The file at
 * `source` is used up.
 */
export function unpackInWorker(task: UnpackTask): Promise<UnpackResult> {
  const { promise, resolve, reject } = Promise.withResolvers<UnpackResult>();
  const worker = new Worker(new URL('./unpack-worker.ts', import.meta.url), {
    workerData: task,
    // Descriptors come from openat2(2) through FFI, which node has not seen opened.
    trackUnmanagedFds: false,
  });
  worker.once('message', (answer: UnpackAnswer) => {
    if ('done' in answer) resolve(answer.done);
    else
      reject(
        answer.failed.kind === 'invalid' ? invalid(answer.failed.message) : internal(answer.failed.message),
      );
  });
  worker.once('error', (error) => reject(new DroverError('internal', 'unpacking failed', { cause: error })));
  worker.once('exit', () => reject(internal('unpacking ended without a result')));
  return promise;
}
