import { invalid } from '#model/errors.ts';
import type { ComposeValue, Place } from './compose-file.ts';
import type { Environment } from './interpolation.ts';
import { checkKeys } from './supported-keys.ts';
import { boolean, given, map, oneOf, reader, table, text } from './value-reader.ts';

/** Where the content of a secret or a config is from. */
export type ContentSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'external' };

/** An entry of the file's `secrets` or `configs`. */
export interface ProjectContent {
  readonly key: string;
  /** Where the file gives one; the key itself for what is external. */
  readonly name?: string;
  readonly source: ContentSource;
  readonly labels: Record<string, string>;
  readonly templateDriver?: string;
  readonly place: Place;
}

/** A service's use of a secret or a config. */
export interface ContentReference {
  /** The key of a {@link ProjectContent}. */
  readonly source: string;
  readonly target?: string;
  readonly uid?: string;
  readonly gid?: string;
  /** Permission bits. */
  readonly mode?: number;
}

export type ContentKind = 'secret' | 'config';

/** Reads a top-level `secrets` or `configs`. */
export function readContents(
  value: ComposeValue | undefined,
  kind: ContentKind,
  o: { resolvePath: (path: string) => string; environment: Environment },
): Map<string, ProjectContent> {
  const contents = new Map<string, ProjectContent>();
  for (const [key, each] of value === undefined ? [] : map(value)) {
    checkKeys(each, 'file', `${kind}s.${key}`);
    const get = reader(each);
    const external = get('external', boolean) ?? false;
    const name = get('name', text);
    contents.set(key, {
      key,
      source: external ? { kind: 'external' } : readSource(each, `${kind}s.${key}`, o),
      labels: get('labels', table) ?? {},
      place: each.place,
      ...given({
        name: name ?? (external ? key : undefined),
        templateDriver: get('template_driver', (found) => oneOf(found, ['golang'])),
      }),
    });
  }
  return contents;
}

function readSource(
  value: ComposeValue,
  what: string,
  o: { resolvePath: (path: string) => string; environment: Environment },
): ContentSource {
  const get = reader(value);
  const sources = [
    get('file', (found): ContentSource => ({ kind: 'file', path: o.resolvePath(text(found)) })),
    get('content', (found): ContentSource => ({ kind: 'text', text: text(found) })),
    get('environment', (found): ContentSource => {
      const variable = text(found);
      const content = o.environment(variable);
      if (content === undefined) throw invalid(`${found.place}: ${what}: variable ${variable} is not set`);
      return { kind: 'text', text: content };
    }),
  ].filter((source) => source !== undefined);
  const [source] = sources;
  if (source === undefined || sources.length > 1)
    throw invalid(`${value.place}: ${what}: one of file, environment, content and external is needed`);
  return source;
}

/** An entry of a service's `secrets` or `configs`, short or long. */
export function readContentReference(
  value: ComposeValue,
  kind: ContentKind,
  has: (key: string) => boolean,
): ContentReference {
  if (value.kind === 'map') checkKeys(value, 'file reference', `${kind}s`);
  const source = value.kind === 'map' ? value.entries.get('source') : value;
  if (source === undefined) throw invalid(`${value.place}: source is missing`);
  const key = text(source);
  if (!has(key)) throw invalid(`${source.place}: ${kind} ${key} is not declared under ${kind}s`);
  if (value.kind !== 'map') return { source: key };
  const get = reader(value);
  return {
    source: key,
    ...given({
      target: get('target', text),
      uid: get('uid', text),
      gid: get('gid', text),
      mode: get('mode', permissions),
    }),
  };
}

/** `0440`, as YAML reads it or in quotes. */
function permissions(value: ComposeValue): number {
  if (value.kind === 'scalar' && typeof value.value === 'number') return value.value;
  const written = text(value);
  if (!/^(0o)?[0-7]{1,4}$/.test(written)) throw invalid(`${value.place}: must be permissions such as 0440`);
  return Number.parseInt(written.replace('0o', ''), 8);
}
