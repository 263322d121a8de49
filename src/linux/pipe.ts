import { fcntl, pipe2 } from './libc.ts';
import { hasCode } from './system-call-error.ts';

const O_CLOEXEC = 0o2000000;
const F_SETPIPE_SZ = 1031;
/** What a process may ask for without privileges (pipe-max-size). */
const CAPACITY_BYTES = 1024 * 1024;

/** The ends of a pipe, as descriptors for the caller to close: bytes from one thread to another, held up where nobody takes them. */
export function makePipe(): { read: number; write: number } {
  const ends = new Int32Array(2);
  pipe2(undefined, ends, O_CLOEXEC);
  const [read = -1, write = -1] = ends;
  try {
    fcntl('pipe', write, F_SETPIPE_SZ, CAPACITY_BYTES);
  } catch (error) {
    // The user has too many already: it stays at 64 KiB.
    if (!hasCode(error, 'EPERM', 'EBUSY')) throw error;
  }
  return { read, write };
}
