import { parseByteSize } from '#model/byte-size.ts';
import { messageOf } from '#model/errors.ts';
import type { Instruction, ParsedDockerfile } from './dockerfile-parser.ts';
import { DockerfileProblem } from './dockerfile-problem.ts';

/** `RUN --mount`, as it is written: variables are not replaced yet. */
export interface RunMount {
  type: 'bind' | 'cache' | 'secret' | 'ssh' | 'tmpfs';
  target: string | undefined;
  source: string | undefined;
  from: string | undefined;
  readOnly: boolean;
  id: string | undefined;
  sharing: 'shared' | 'private' | 'locked';
  mode: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  required: boolean;
  sizeBytes: number | undefined;
  env: string | undefined;
}

const ALLOWED: Record<RunMount['type'], readonly string[]> = {
  bind: ['target', 'source', 'from', 'rw', 'ro'],
  cache: ['target', 'source', 'from', 'ro', 'rw', 'id', 'sharing', 'mode', 'uid', 'gid'],
  secret: ['target', 'id', 'source', 'mode', 'uid', 'gid', 'required', 'env'],
  ssh: ['target', 'id', 'mode', 'uid', 'gid', 'required'],
  tmpfs: ['target', 'size'],
};

const ALIASES: Readonly<Record<string, string>> = {
  dst: 'target',
  destination: 'target',
  src: 'source',
  readonly: 'ro',
  readwrite: 'rw',
};

/** The mounts of a RUN; errors point at it. */
export function parseMounts(
  file: Pick<ParsedDockerfile, 'file' | 'lines'>,
  instruction: Instruction,
): RunMount[] {
  return instruction.flags
    .filter(({ name }) => name === 'mount')
    .map(({ value }) => {
      try {
        return parseMount(value ?? '');
      } catch (cause) {
        throw new DockerfileProblem(`invalid mount ${JSON.stringify(value)}: ${messageOf(cause)}`, {
          file: file.file,
          lines: file.lines,
          place: instruction.place,
          cause,
        });
      }
    });
}

function parseMount(text: string): RunMount {
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const key = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase();
    fields.set(ALIASES[key] ?? key, equals < 0 ? 'true' : part.slice(equals + 1));
  }
  const asked = fields.get('type') ?? 'bind';
  const type = (['bind', 'cache', 'secret', 'ssh', 'tmpfs'] as const).find((each) => each === asked);
  if (type === undefined) throw new Error(`unsupported mount type "${asked}"`);
  fields.delete('type');
  for (const key of fields.keys())
    if (!ALLOWED[type].includes(key)) throw new Error(`unexpected key '${key}' for mount type '${type}'`);
  const target = fields.get('target');
  if (target === undefined && (type === 'bind' || type === 'cache' || type === 'tmpfs'))
    throw new Error('target is missing');
  const id = fields.get('id');
  const source = fields.get('source');
  if (type === 'secret' && id === undefined && source === undefined && target === undefined)
    throw new Error('one of source, target or id is required');
  return {
    type,
    target,
    source,
    from: fields.get('from'),
    readOnly: type === 'bind' ? fields.get('rw') !== 'true' : fields.get('ro') === 'true',
    id,
    sharing: oneOf(fields.get('sharing') ?? 'shared'),
    mode: octal(fields.get('mode')),
    uid: natural('uid', fields.get('uid')),
    gid: natural('gid', fields.get('gid')),
    required: fields.get('required') === 'true',
    sizeBytes: size(fields.get('size')),
    env: fields.get('env'),
  };
}

function oneOf(text: string): RunMount['sharing'] {
  if (text === 'shared' || text === 'private' || text === 'locked') return text;
  throw new Error(`unsupported sharing mode ${JSON.stringify(text)}`);
}

function octal(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-7]{1,5}$/.test(text)) throw new Error(`invalid value ${text} for mode`);
  return Number.parseInt(text, 8);
}

function natural(key: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text)) throw new Error(`invalid value ${text} for ${key}`);
  return Number(text);
}

function size(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseByteSize(text);
  if (bytes === undefined) throw new Error(`invalid value ${text} for size`);
  return bytes;
}
