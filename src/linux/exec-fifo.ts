import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { hasCode } from './system-call-error.ts';

/**
 * Does what the runtime's `start` does, through the fifo that a created container waits at: crun reads a byte from it, runc
 * writes one into it. False where that did not work and the command has to be used.
 */
export function startThroughFifo(o: { path: string; runtime: 'crun' | 'runc' }): boolean {
  try {
    const flags = o.runtime === 'crun' ? constants.O_RDWR : constants.O_RDONLY;
    const fd = openSync(o.path, flags | constants.O_NONBLOCK);
    try {
      if (o.runtime === 'crun') return writeSync(fd, '0') === 1;
      return readSync(fd, Buffer.alloc(1)) === 1;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENXIO', 'EAGAIN', 'EACCES')) return false;
    throw error;
  }
}
