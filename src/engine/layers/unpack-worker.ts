import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
} from 'node:fs';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { outputOf } from '#engine/runtime/process-launcher.ts';
import { invalid, kindOf, messageOf } from '#model/errors.ts';
import { type ExtractionOptions, extractArchive } from './archive-extractor.ts';

/** What the worker is asked for: `plain` is where the uncompressed archive ends up. */
export interface UnpackTask {
  source: string;
  plain: string;
  target: string | undefined;
  options: ExtractionOptions;
}

export interface UnpackResult {
  /** `sha256:…` of the uncompressed archive. */
  diffId: string;
  /** Bytes of the files in it. */
  size: number;
}

export type UnpackAnswer = { done: UnpackResult } | { failed: { kind: string; message: string } };

const CHUNK = 1024 * 1024;

async function unpack(task: UnpackTask): Promise<UnpackResult> {
  const diffId = await hashPlain(task.source, task.plain);
  if (task.target === undefined) return { diffId, size: 0 };
  mkdirSync(task.target, { recursive: true, mode: 0o755 });
  const fd = openSync(task.plain, 'r');
  try {
    return { diffId, ...extractArchive(fd, task.target, task.options) };
  } finally {
    closeSync(fd);
  }
}

/** Leaves the uncompressed archive at `plain` and gives its digest. */
async function hashPlain(source: string, plain: string): Promise<string> {
  const hash = createHash('sha256');
  const decompressed = decompress(source);
  if (decompressed === undefined) {
    const fd = openSync(source, 'r');
    try {
      const chunk = Buffer.allocUnsafe(CHUNK);
      for (let length = readSync(fd, chunk); length > 0; length = readSync(fd, chunk)) {
        hash.update(chunk.subarray(0, length));
      }
    } finally {
      closeSync(fd);
    }
    renameSync(source, plain);
    return `sha256:${hash.digest('hex')}`;
  }
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  try {
    await pipeline(decompressed, hashing, createWriteStream(plain, { mode: 0o600 }));
  } catch (error) {
    throw invalid(`the compressed archive is damaged: ${messageOf(error)}`, { cause: error });
  }
  return `sha256:${hash.digest('hex')}`;
}

/** What is in a compressed file, known by its first bytes as names and media types lie; undefined where it is not compressed. */
function decompress(source: string): Readable | undefined {
  const magic = Buffer.alloc(6);
  const fd = openSync(source, 'r');
  try {
    readSync(fd, magic);
  } finally {
    closeSync(fd);
  }
  const starts = (...bytes: number[]): boolean => bytes.every((byte, i) => magic.readUInt8(i) === byte);
  if (starts(0x1f, 0x8b)) return createReadStream(source).pipe(createGunzip({ chunkSize: 256 * 1024 }));
  if (starts(0x28, 0xb5, 0x2f, 0xfd))
    return createReadStream(source).pipe(createZstdDecompress({ chunkSize: 256 * 1024 }));
  if (starts(0x42, 0x5a, 0x68)) return outputOf('bzip2', ['-dc', source]);
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a)) return outputOf('xz', ['-dc', source]);
  return undefined;
}

const port = parentPort;
if (port !== null) {
  const task: UnpackTask = workerData;
  unpack(task).then(
    (done) => port.postMessage({ done } satisfies UnpackAnswer),
    (error: unknown) =>
      port.postMessage({ failed: { kind: kindOf(error), message: messageOf(error) } } satisfies UnpackAnswer),
  );
}
