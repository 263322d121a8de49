import type { MountSpec } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { ComposeValue } from './compose-file.ts';
import { checkKeys } from './supported-keys.ts';
import { boolean, bytes, integer, map, oneOf, table, text } from './value-reader.ts';

export interface MountContext {
  /** Makes a path of the file absolute. */
  resolvePath: (path: string) => string;
  /** The real name of a top-level volume; throws where it is not declared. */
  volumeName: (key: string, place: string) => string;
}

/** An entry of a service's `volumes`, short or long. */
export function readMount(value: ComposeValue, context: MountContext): MountSpec {
  return value.kind === 'map' ? longMount(value, context) : shortMount(value, context);
}

function shortMount(value: ComposeValue, context: MountContext): MountSpec {
  const parts = text(value).split(':');
  if (parts.length > 3) throw invalid(`${value.place}: too many colons`);
  const [source = '', target, options = ''] = parts.length === 1 ? ['', parts[0]] : parts;
  if (target === undefined || !target.startsWith('/'))
    throw invalid(`${value.place}: the target must be an absolute path`);
  const flags = options.split(',').filter((flag) => flag !== '');
  const unknown = flags.find(
    (flag) => !['ro', 'rw', 'nocopy', 'z', 'Z', 'cached', 'delegated', 'consistent'].includes(flag),
  );
  if (unknown !== undefined) throw invalid(`${value.place}: option ${unknown} is not supported`);
  const ReadOnly = flags.includes('ro');
  if (/^[./~]/.test(source)) {
    return {
      Type: 'bind',
      Source: context.resolvePath(source),
      Target: target,
      ReadOnly,
      BindOptions: { CreateMountpoint: true },
    };
  }
  const Source = source === '' ? '' : context.volumeName(source, value.place);
  return {
    Type: 'volume',
    Source,
    Target: target,
    ReadOnly,
    ...(flags.includes('nocopy') ? { VolumeOptions: { NoCopy: true } } : {}),
  };
}

function longMount(value: ComposeValue, context: MountContext): MountSpec {
  checkKeys(value, 'mount', 'volumes');
  const entries = map(value);
  const required = (key: string): string => {
    const found = entries.get(key);
    if (found === undefined) throw invalid(`${value.place}: ${key} is missing`);
    return text(found);
  };
  const type = required('type');
  const Target = required('target');
  const readOnly = entries.get('read_only');
  const ReadOnly = readOnly === undefined ? false : boolean(readOnly);
  const source = entries.get('source');
  for (const other of ['bind', 'volume', 'tmpfs']) {
    const stray = other === type ? undefined : entries.get(other);
    if (stray !== undefined) throw invalid(`${stray.place}: ${other} is not for a mount of type ${type}`);
  }
  switch (type) {
    case 'bind':
      return {
        Type: 'bind',
        Source: context.resolvePath(required('source')),
        Target,
        ReadOnly,
        ...bindOptions(entries.get('bind')),
      };
    case 'volume': {
      const Source = source === undefined ? '' : context.volumeName(text(source), source.place);
      return { Type: 'volume', Source, Target, ReadOnly, ...volumeOptions(entries.get('volume')) };
    }
    case 'tmpfs': {
      const options = optionsOf(entries.get('tmpfs'), 'tmpfs');
      const size = options.get('size');
      const mode = options.get('mode');
      const TmpfsOptions = {
        ...(size === undefined ? {} : { SizeBytes: bytes(size) }),
        ...(mode === undefined ? {} : { Mode: integer(mode) }),
      };
      return { Type: 'tmpfs', Source: '', Target, ReadOnly, TmpfsOptions };
    }
    default:
      throw invalid(`${value.place}: volume type ${type} is not supported: use bind, volume or tmpfs`);
  }
}

function volumeOptions(value: ComposeValue | undefined): {
  VolumeOptions?: NonNullable<MountSpec['VolumeOptions']>;
} {
  const options = optionsOf(value, 'volume');
  const nocopy = options.get('nocopy');
  const subpath = options.get('subpath');
  const labels = options.get('labels');
  if (nocopy === undefined && subpath === undefined && labels === undefined) return {};
  return {
    VolumeOptions: {
      ...(nocopy === undefined ? {} : { NoCopy: boolean(nocopy) }),
      ...(subpath === undefined ? {} : { Subpath: text(subpath) }),
      ...(labels === undefined ? {} : { Labels: table(labels) }),
    },
  };
}

/** The words of `recursive`, as the docker CLI's bind-recursive has them. */
const RECURSIONS = {
  enabled: {},
  disabled: { NonRecursive: true },
  writable: { ReadOnlyNonRecursive: true },
  readonly: { ReadOnlyForceRecursive: true },
} as const;

function bindOptions(value: ComposeValue | undefined): {
  BindOptions?: NonNullable<MountSpec['BindOptions']>;
} {
  const options = optionsOf(value, 'bind');
  const propagation = options.get('propagation');
  const create = options.get('create_host_path');
  const recursive = options.get('recursive');
  const BindOptions = {
    ...(propagation === undefined ? {} : { Propagation: text(propagation) }),
    ...(create === undefined ? {} : { CreateMountpoint: boolean(create) }),
    ...(recursive === undefined
      ? {}
      : RECURSIONS[oneOf(recursive, ['enabled', 'disabled', 'writable', 'readonly'])]),
  };
  return Object.keys(BindOptions).length === 0 ? {} : { BindOptions };
}

const KEYS_OF = {
  bind: 'mount of a directory',
  volume: 'mount of a volume',
  tmpfs: 'mount of a tmpfs',
} as const;

function optionsOf(value: ComposeValue | undefined, type: keyof typeof KEYS_OF): Map<string, ComposeValue> {
  if (value === undefined) return new Map();
  checkKeys(value, KEYS_OF[type], `volumes.${type}`);
  return map(value);
}
