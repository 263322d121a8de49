import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import dockerignore from '@balena/dockerignore';
import { notFound } from '#model/errors.ts';
import { resolveInRoot } from './resolve-in-root.ts';

/** What of a tree is meant, as a Dockerfile's COPY says it. */
export interface TreeSelection {
  /** On the host. Links in `sources` are followed inside of it. */
  root: string;
  /** Paths in `root`; `*`, `?` and `[…]` as in Go's filepath.Match. */
  sources: readonly string[];
  /** Patterns of a .dockerignore file, relative to `root`. */
  ignore?: readonly string[];
  /** Patterns of the same kind, relative to what is copied. */
  exclude?: readonly string[];
  /** Sources keep their path, from a `/./` in it on. */
  parents?: boolean;
  /** The names in `sources` have no wildcards. */
  literal?: boolean;
}

export interface SelectedEntry {
  /** On the host. */
  file: string;
  /** Below the destination; empty for a directory whose content goes right there. */
  target: string;
  stats: BigIntStats;
  /** A source that is no directory: it may become the destination itself. */
  isNamedFile: boolean;
}

interface Matched {
  /** As written in `root`, without a leading slash. */
  path: string;
  file: string;
  target: string;
}

/**
 * The selected entries, directories before what is in them, in the order of names. A source that is not there is `not-found`.
 * `visit` hears of every step of the walk, also where nothing is selected; what it throws ends the walk.
 */
export function* selectEntries(
  selection: TreeSelection,
  visit: () => void = () => undefined,
): Generator<SelectedEntry> {
  const ignored = matcher(selection.ignore ?? []);
  const excluded = matcher(selection.exclude ?? []);
  let found = 0;
  for (const source of selection.sources) {
    const matches = [...matchSource(selection, source, visit)];
    let taken = 0;
    for (const matched of matches) {
      for (const entry of entriesOf(matched, selection, { ignored, excluded, visit })) {
        taken += 1;
        yield entry;
      }
    }
    found += taken;
    if (taken === 0 && !hasWildcard(selection, source)) throw missing(source);
  }
  if (found === 0) throw missing(selection.sources.join(' '));
}

function missing(source: string): Error {
  return notFound(`${JSON.stringify(source)} is not there, or a .dockerignore file keeps it out`);
}

function hasWildcard(selection: TreeSelection, source: string): boolean {
  return selection.literal !== true && /[*?[\\]/.test(source);
}

function* matchSource(selection: TreeSelection, source: string, visit: () => void): Generator<Matched> {
  const relative = posix.normalize(`/${source}`).slice(1).replace(/\/$/, '');
  if (!hasWildcard(selection, source)) {
    const file = resolveInRoot(selection.root, relative);
    if (file !== undefined) yield { path: relative, file, target: targetOf(selection, source, relative) };
    return;
  }
  for (const path of glob(selection.root, relative.split('/'), '', visit)) {
    const file = resolveInRoot(selection.root, path);
    if (file !== undefined) yield { path, file, target: targetOf(selection, source, path) };
  }
}

/** Where the source goes with `parents`: its path, from the pivot on. */
function targetOf(selection: TreeSelection, source: string, path: string): string {
  if (selection.parents !== true) return '';
  const pivot = source.lastIndexOf('/./');
  if (pivot < 0) return path;
  const skipped = posix
    .normalize(`/${source.slice(0, pivot)}`)
    .split('/')
    .filter(Boolean).length;
  return path.split('/').slice(skipped).join('/');
}

function* glob(
  root: string,
  patterns: readonly string[],
  path: string,
  visit: () => void,
): Generator<string> {
  visit();
  const [pattern = '', ...rest] = patterns;
  const directory = resolveInRoot(root, path);
  if (directory === undefined || !lstatSync(directory).isDirectory()) return;
  if (pattern === '**') {
    yield* rest.length === 0 ? [path] : glob(root, rest, path, visit);
    for (const each of readdirSync(directory, { withFileTypes: true }).sort(byName)) {
      const below = path === '' ? each.name : `${path}/${each.name}`;
      if (each.isDirectory()) yield* glob(root, patterns, below, visit);
      else if (rest.length === 0) yield below;
    }
    return;
  }
  const expression = wildcardExpression(pattern);
  for (const name of readdirSync(directory).sort()) {
    if (!expression.test(name)) continue;
    const below = path === '' ? name : `${path}/${name}`;
    if (rest.length === 0) yield below;
    else yield* glob(root, rest, below, visit);
  }
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** Go's filepath.Match for one name. */
function wildcardExpression(pattern: string): RegExp {
  const source = pattern.replace(
    /\\(.)|\[(\^?)((?:\\.|[^\]])*)\]|[*?.+^${}()|[\]\\]/gs,
    (all, escaped, not, set) => {
      if (escaped !== undefined) return escaped.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      if (set !== undefined) return `[${not}${set.replace(/\[/g, '\\[')}]`;
      if (all === '*') return '[^/]*';
      if (all === '?') return '[^/]';
      return `\\${all}`;
    },
  );
  return new RegExp(`^(?:${source})$`, 's');
}

interface Matcher {
  hides(path: string): boolean;
  /** Whether something below a hidden directory may be shown again. */
  hasExceptions: boolean;
}

function matcher(patterns: readonly string[]): Matcher {
  if (patterns.length === 0) return { hides: () => false, hasExceptions: false };
  const ignore = dockerignore.default({ ignorecase: false }).add([...patterns]);
  return {
    hides: (path) => path !== '' && ignore.ignores(path),
    hasExceptions: patterns.some((pattern) => pattern.trim().startsWith('!')),
  };
}

function* entriesOf(
  matched: Matched,
  selection: TreeSelection,
  { ignored, excluded, visit }: { ignored: Matcher; excluded: Matcher; visit: () => void },
): Generator<SelectedEntry> {
  const stats = lstatSync(matched.file, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return;
  const base = posix.basename(matched.path);
  if (!stats.isDirectory()) {
    if (ignored.hides(matched.path) || excluded.hides(base)) return;
    const target = selection.parents === true ? matched.target : base;
    yield* parentsOf(selection, matched, target);
    yield { file: matched.file, target, stats, isNamedFile: true };
    return;
  }
  yield* parentsOf(selection, matched, matched.target);
  yield* walk({ file: matched.file, path: matched.path, inside: '', target: matched.target, stats });

  function* walk(at: {
    file: string;
    path: string;
    inside: string;
    target: string;
    stats: BigIntStats;
  }): Generator<SelectedEntry> {
    visit();
    const hidden = ignored.hides(at.path) || (at.inside !== '' && excluded.hides(at.inside));
    if (hidden && !ignored.hasExceptions && !excluded.hasExceptions) return;
    const self: SelectedEntry = { file: at.file, target: at.target, stats: at.stats, isNamedFile: false };
    if (!at.stats.isDirectory()) {
      if (!hidden) yield self;
      return;
    }
    // A hidden directory is there only where something in it is.
    let told = !hidden;
    if (told) yield self;
    for (const name of readdirSync(at.file).sort()) {
      const file = join(at.file, name);
      const below = {
        file,
        path: slashed(at.path, name),
        inside: slashed(at.inside, name),
        target: slashed(at.target, name),
        stats: lstatSync(file, { bigint: true }),
      };
      for (const entry of walk(below)) {
        if (!told) yield self;
        told = true;
        yield entry;
      }
    }
  }
}

/** With `parents`, the directories on the way. */
function* parentsOf(selection: TreeSelection, matched: Matched, target: string): Generator<SelectedEntry> {
  if (selection.parents !== true) return;
  const parts = target.split('/').slice(0, -1);
  const skipped = matched.path.split('/').length - target.split('/').length;
  for (let depth = 1; depth <= parts.length; depth++) {
    const path = matched.path
      .split('/')
      .slice(0, skipped + depth)
      .join('/');
    const file = resolveInRoot(selection.root, path);
    if (file === undefined) continue;
    const stats = lstatSync(file, { bigint: true });
    yield { file, target: parts.slice(0, depth).join('/'), stats, isNamedFile: false };
  }
}

function slashed(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}
