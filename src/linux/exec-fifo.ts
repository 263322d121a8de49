import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { hasCode } from './system-call-error.ts';

/**
 * Does what `crun start` does: writes a byte into the fifo that a created container waits at. False where that did not work
 * and the command has to be used. runc's fifo works the other way round, and needs a reader that waits for its writer.
 */
export function startThroughFifo(path: string): boolean {
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      return writeSync(fd, '0') === 1;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENXIO', 'EAGAIN', 'EACCES')) return false;
    throw error;
  }
}
