import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** As many symbolic links as the kernel follows in one path. */
const MOST_LINKS = 40;

/** The path outside for `path` inside `root`, links followed as if `root` were `/`; undefined when there is none. */
export function resolveInRoot(root: string, path: string): string | undefined {
  let links = 0;
  let resolved: string[] = [];
  const pending = path.split('/').reverse();
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      resolved.pop();
      continue;
    }
    const outside = join(root, ...resolved, part);
    const stats = lstatSync(outside, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    if (!stats.isSymbolicLink()) {
      resolved.push(part);
      continue;
    }
    links += 1;
    if (links > MOST_LINKS) return undefined;
    const target = readlinkSync(outside);
    if (target.startsWith('/')) resolved = [];
    pending.push(...target.split('/').reverse());
  }
  return join(root, ...resolved);
}
