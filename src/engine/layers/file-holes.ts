import { writeAll } from './write-all.ts';

/** What a file system gives out at once: zeros of this length become a hole. */
const PAGE = 4096;
const ZEROS = Buffer.alloc(PAGE);
/** Holes in smaller pieces save nothing worth looking for. */
const SMALLEST_WITH_HOLES = 64 * 1024;

/** Writes `bytes` at `position`, whole pages of zeros left out where there are many. Gives the position behind what was written. */
export function writeWithHoles(fd: number, bytes: Buffer, position: number): number {
  if (bytes.length < SMALLEST_WITH_HOLES) return writeAll(fd, bytes, position);
  let end = 0;
  let from = 0;
  for (let at = 0; at + PAGE <= bytes.length; at += PAGE) {
    if (bytes[at] !== 0 || !bytes.subarray(at, at + PAGE).equals(ZEROS)) continue;
    if (from < at) end = writeAll(fd, bytes.subarray(from, at), position + from);
    from = at + PAGE;
  }
  return from < bytes.length ? writeAll(fd, bytes.subarray(from), position + from) : end;
}
