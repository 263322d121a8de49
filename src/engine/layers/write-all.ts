import { writeSync } from 'node:fs';

/** Writes all of `bytes` at `position`; a single write may take less. Gives the position behind what was written. */
export function writeAll(fd: number, bytes: Buffer, position: number): number {
  let written = 0;
  while (written < bytes.length)
    written += writeSync(fd, bytes, written, bytes.length - written, position + written);
  return position + bytes.length;
}
