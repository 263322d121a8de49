import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes a file that only its owner reads (0600), whole or not at all: what `fill` writes is on disk before it takes the place of what
 * had the name. One writer a name at a time.
 */
export async function writePrivately(
  file: string,
  fill: (write: (chunk: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  const partial = `${file}.partial`;
  await rm(partial, { force: true });
  try {
    await using handle = await open(partial, 'wx', 0o600);
    await fill((chunk) => writeAll(handle, chunk));
    await handle.sync();
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await using directory = await open(dirname(file), 'r');
  await directory.sync();
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    const { bytesWritten } = await handle.write(chunk, done);
    done += bytesWritten;
  }
}
