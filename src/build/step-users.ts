import { readFileSync, statSync } from 'node:fs';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';

const LARGEST = 1024 * 1024;

/** passwd(5) and group(5) of a root file system, links resolved inside; empty where there are none. */
export function readPasswd(root: string): { passwd: string; group: string } {
  const read = (path: string): string => {
    const file = resolveInRoot(root, path);
    if (file === undefined || !statSync(file).isFile() || statSync(file).size > LARGEST) return '';
    return readFileSync(file, 'utf8');
  };
  return { passwd: read('etc/passwd'), group: read('etc/group') };
}
