import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { invalid } from '#model/errors.ts';
import { type Environment, interpolate } from './interpolation.ts';

/** A place in a file, for messages: `compose.yaml:3:5`. */
export type Place = string;

/** A value of a Compose file that knows where it stands. */
export type ComposeValue =
  | { kind: 'scalar'; place: Place; value: string | number | boolean | null }
  | { kind: 'list'; place: Place; items: ComposeValue[]; replaces: boolean }
  | { kind: 'map'; place: Place; entries: Map<string, ComposeValue>; replaces: boolean };

/** What `parseComposeFile` is given: file contents are read by the caller. */
export interface ComposeSource {
  name: string;
  text: string;
  environment: Environment;
  missing: (name: string) => void;
}

/** YAML with places, variables replaced; errors say file, line and column. */
export function parseComposeFile(source: ComposeSource): ComposeValue {
  const lines = new LineCounter();
  const document = parseDocument(source.text, { lineCounter: lines, merge: true, logLevel: 'silent' });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return `${source.name}:${line}:${col}`;
  };
  const [error] = document.errors;
  if (error !== undefined) throw invalid(`${place(error.pos[0])}: ${error.message.split('\n')[0]}`);

  const convert = (node: Node | null, at: Place): ComposeValue => {
    if (node === null) return { kind: 'scalar', place: at, value: null };
    const here = node.range === null || node.range === undefined ? at : place(node.range[0]);
    if (isAlias(node)) return convert(node.resolve(document) ?? null, here);
    if (node.tag === '!reset') return { kind: 'scalar', place: here, value: null };
    const replaces = node.tag === '!override';
    if (isMap<Node, Node | null>(node)) {
      const entries = new Map<string, ComposeValue>();
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? String(key.value) : '';
        const keyPlace = key.range === null || key.range === undefined ? here : place(key.range[0]);
        if (name === '<<' || (isScalar(key) && typeof key.value === 'symbol'))
          mergeInto(entries, convert(value, keyPlace));
        else entries.set(name, { ...convert(value, keyPlace), place: keyPlace });
      }
      return { kind: 'map', place: here, entries, replaces };
    }
    if (isSeq<Node>(node))
      return { kind: 'list', place: here, items: node.items.map((item) => convert(item, here)), replaces };
    if (!isScalar(node)) throw invalid(`${here}: unexpected value`);
    // octal as in YAML 1.1, which files with `mode: 0440` were written for
    const octal = typeof node.value === 'number' && /^0[0-7]+$/.test(node.source ?? '');
    const value = octal ? Number.parseInt(node.source ?? '', 8) : node.value;
    return { kind: 'scalar', place: here, value: scalar(value, here) };
  };
  const scalar = (value: unknown, at: Place): string | number | boolean | null => {
    if (typeof value === 'string') {
      try {
        return interpolate(value, source.environment, source.missing);
      } catch (cause) {
        throw invalid(`${at}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    }
    if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
    return value === undefined ? null : String(value);
  };
  return convert(document.contents, `${source.name}:1:1`);
}

function mergeInto(entries: Map<string, ComposeValue>, merged: ComposeValue): void {
  const maps = merged.kind === 'list' ? merged.items : [merged];
  for (const map of maps) {
    if (map.kind !== 'map') throw invalid(`${map.place}: << takes a mapping`);
    for (const [key, value] of map.entries) if (!entries.has(key)) entries.set(key, value);
  }
}

/** Lists that a later file replaces rather than extends (Compose specification, Merge). */
const REPLACED_LISTS = new Set(['command', 'entrypoint', 'test']);
/** Lists whose entries stand for something with a key, of which the later one wins. */
const KEYED_LISTS: Record<string, (value: string) => string> = {
  environment: (value) => value.split('=', 1)[0] ?? value,
  labels: (value) => value.split('=', 1)[0] ?? value,
  volumes: (value) => value.split(':')[1] ?? value,
};

/** Lays a later file over an earlier one. */
export function mergeCompose(base: ComposeValue, over: ComposeValue, key = ''): ComposeValue {
  if (base.kind === 'map' && over.kind === 'map' && !over.replaces) {
    const entries = new Map(base.entries);
    for (const [name, value] of over.entries) {
      const below = entries.get(name);
      entries.set(name, below === undefined ? value : mergeCompose(below, value, name));
    }
    return { ...over, entries };
  }
  if (base.kind === 'list' && over.kind === 'list' && !over.replaces && !REPLACED_LISTS.has(key)) {
    const keyOf = KEYED_LISTS[key];
    const identity = (item: ComposeValue): string => {
      const text = item.kind === 'scalar' ? String(item.value) : JSON.stringify(plain(item));
      return keyOf === undefined ? text : keyOf(text);
    };
    const later = new Set(over.items.map(identity));
    return { ...over, items: [...base.items.filter((item) => !later.has(identity(item))), ...over.items] };
  }
  return over;
}

/** Without the places. */
export function plain(value: ComposeValue): unknown {
  if (value.kind === 'scalar') return value.value;
  if (value.kind === 'list') return value.items.map(plain);
  return Object.fromEntries([...value.entries].map(([key, each]) => [key, plain(each)]));
}
