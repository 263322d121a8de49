import { closeRange } from './libc.ts';
import { hasCode } from './system-call-error.ts';

const FIRST_AFTER_STDIO = 3;
const HIGHEST = 0xffffffff;
const CLOSE_RANGE_CLOEXEC = 1 << 2;

/**
 * Keeps every descriptor that this process has now, but for its standard ones, from the programs that it starts. For those that
 * libraries open without saying so (close_range(2)): a container's monitor that inherits one holds on to what it stands for. What a
 * program is meant to get is handed to it when it is started.
 */
export function keepDescriptorsFromChildren(): void {
  try {
    closeRange(undefined, FIRST_AFTER_STDIO, HIGHEST, CLOSE_RANGE_CLOEXEC);
  } catch (error) {
    // before Linux 5.11 it is not there: they are inherited, and nothing else goes wrong
    if (!hasCode(error, 'ENOSYS', 'EINVAL')) throw error;
  }
}
