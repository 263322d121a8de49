import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '#linux/system-call-error.ts';

/** As many symbolic links as the kernel follows in one path. */
const MOST_LINKS = 40;

/** The path outside for `path` inside `root`, links followed as if `root` were `/`; undefined when there is none. */
export function resolveInRoot(root: string, path: string): string | undefined {
  const { resolved, missing } = walk(root, path);
  return missing.length > 0 ? undefined : join(root, ...resolved);
}

/** The same for something that is yet to be made: relative to `root`, what is not there as it was written. */
export function resolveForCreation(root: string, path: string): string {
  const { resolved, missing } = walk(root, path);
  return [...resolved, ...missing].join('/');
}

/**
 * Where a path leads in a tree whose links `readLink` tells, which gets paths without links before their end. Links that lead nowhere
 * or in circles are followed as far as that goes.
 */
export function resolveLinks(path: string, readLink: (path: string) => string | undefined): string {
  let left = MOST_LINKS;
  const { resolved } = follow(path, (parts) => {
    const link = left === 0 ? undefined : readLink(`/${parts.join('/')}`);
    if (link === undefined) return 'there';
    left -= 1;
    return { link };
  });
  return `/${resolved.join('/')}`;
}

/** Follows a path as far as it goes; `missing` is the rest of it, or all of it where links lead in circles. */
function walk(root: string, path: string): { resolved: string[]; missing: string[] } {
  let links = 0;
  const { resolved, rest } = follow(path, (parts) => {
    const outside = join(root, ...parts);
    const stats = lookAt(outside);
    if (stats === undefined) return 'missing';
    if (!stats.isSymbolicLink()) return 'there';
    links += 1;
    return links > MOST_LINKS ? 'missing' : { link: readlinkSync(outside) };
  });
  if (links > MOST_LINKS) return { resolved: [], missing: lexical(path.split('/')) };
  return { resolved, missing: lexical(rest) };
}

/** Goes through a path, links followed; `look` is asked what is at each of its parts. Ends at the first that is missing; `rest` begins with it. */
function follow(
  path: string,
  look: (parts: readonly string[]) => 'there' | 'missing' | { link: string },
): { resolved: string[]; rest: string[] } {
  let resolved: string[] = [];
  const pending = path.split('/').reverse();
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      resolved.pop();
      continue;
    }
    const seen = look([...resolved, part]);
    if (seen === 'missing') return { resolved, rest: [part, ...pending.reverse()] };
    if (seen === 'there') {
      resolved.push(part);
      continue;
    }
    if (seen.link.startsWith('/')) resolved = [];
    pending.push(...seen.link.split('/').reverse());
  }
  return { resolved, rest: [] };
}

/** Undefined where nothing is, also below what is no directory. */
function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Without `.` and `..`: nothing of it is there that a link could lead away from. */
function lexical(parts: readonly string[]): string[] {
  const kept: string[] = [];
  for (const part of parts) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return kept;
}
