import { closeSync, openSync, writeFileSync } from 'node:fs';
import { setns } from './libc.ts';

const CLONE_NEWUTS = 0x04000000;
const OWN = '/proc/thread-self/ns/uts';

/** Gives another UTS namespace, such as `/proc/PID/ns/uts`, its host name; 64 bytes at most (uts_namespaces(7)). */
export function setHostname(namespacePath: string, name: string): void {
  const own = openSync(OWN, 'r');
  const other = openSync(namespacePath, 'r');
  try {
    setns(namespacePath, other, CLONE_NEWUTS);
    try {
      // the kernel looks at the namespace of who writes
      writeFileSync('/proc/sys/kernel/hostname', name);
    } finally {
      setns(OWN, own, CLONE_NEWUTS);
    }
  } finally {
    closeSync(other);
    closeSync(own);
  }
}
