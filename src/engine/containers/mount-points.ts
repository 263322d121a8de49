import { posix } from 'node:path';
import type { ContainerRecord, HostConfig, MountPoint, MountSpec } from '#model/container.ts';
import { type DroverError, invalid } from '#model/errors.ts';

/** A mount as it is stored. */
export interface StoredMount extends MountPoint {
  /** A bind whose missing source is made as a directory (`-v`), not refused (`--mount`). */
  createSource?: boolean;
  /** A read-only bind that makes what is mounted below it read-only, too. */
  recursivelyReadOnly?: boolean;
}

/** A mount as it is planned: a volume without a name still has to be made. */
export interface PlannedMount extends StoredMount {
  /** For a volume that may not exist yet. */
  volume?: { labels: Record<string, string>; driver: string; options: Record<string, string> };
}

/**
 * Everything mounted into a container, sorted so that a parent comes before what lies in it: binds, mounts and tmpfs
 * as asked, then what `VolumesFrom` lends, then the image's volumes where nothing else is mounted. Pure: whether bind
 * sources exist is not looked at. Throws `invalid` in Docker's words.
 */
export function planMounts(o: {
  hostConfig: HostConfig;
  imageVolumes: Record<string, object> | null;
  /** Looks a container of `VolumesFrom` up; throws when there is none. */
  container: (reference: string) => ContainerRecord;
}): PlannedMount[] {
  const { hostConfig } = o;
  const asked = [
    ...(hostConfig.Binds ?? []).map((bind) => parseBind(bind, hostConfig.VolumeDriver)),
    ...hostConfig.Mounts.map(mountOfSpec),
  ];
  const planned = new Map<string, PlannedMount>();
  for (const mount of asked) {
    if (planned.has(mount.Destination)) throw invalid(`Duplicate mount point: ${mount.Destination}`);
    planned.set(mount.Destination, mount);
  }
  for (const [path, options] of Object.entries(hostConfig.Tmpfs)) {
    const mount = tmpfsMount(path, options);
    if (planned.has(mount.Destination)) throw invalid(`Duplicate mount point: ${mount.Destination}`);
    planned.set(mount.Destination, mount);
  }
  for (const text of hostConfig.VolumesFrom ?? []) {
    for (const mount of lentMounts(text, o.container)) {
      if (!planned.has(mount.Destination)) planned.set(mount.Destination, mount);
    }
  }
  for (const path of Object.keys(o.imageVolumes ?? {})) {
    const destination = cleanDestination(path, (problem) =>
      invalid(`invalid volume specification: '${path}': ${problem}`),
    );
    if (!planned.has(destination))
      planned.set(destination, anonymousVolume(destination, hostConfig.VolumeDriver));
  }
  return [...planned.values()].sort((a, b) => depth(a.Destination) - depth(b.Destination));
}

function depth(path: string): number {
  return path.split('/').length;
}

function cleanDestination(path: string, refuse: (problem: string) => DroverError): string {
  if (!path.startsWith('/')) throw refuse(`invalid mount path: '${path}' mount path must be absolute`);
  const normal = posix.normalize(path);
  const clean = normal.endsWith('/') ? normal.slice(0, -1) : normal;
  if (clean === '') throw refuse("invalid specification: destination can't be '/'");
  if (clean.includes('\0')) throw refuse('invalid mount path: it contains a NUL byte');
  return clean;
}

const PROPAGATIONS: readonly string[] = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
/** Words of `-v` that mean nothing on Linux without SELinux. */
const IGNORED_MODES: readonly string[] = ['z', 'Z', 'consistent', 'cached', 'delegated'];

/** `src:dst[:options]`, `name:dst[:options]` or `dst`. */
function parseBind(text: string, volumeDriver: string): PlannedMount {
  const refuse = (problem: string): DroverError =>
    invalid(`invalid volume specification: '${text}': ${problem}`);
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === ''))
    throw invalid(`invalid volume specification: '${text}'`);
  if (parts.length === 1) return anonymousVolume(cleanDestination(text, refuse), volumeDriver);
  const [source = '', target = '', modeText = ''] = parts;
  const isBind = source.startsWith('/');
  const kind = isBind ? 'bind' : 'volume';
  const refuseMount = (problem: string): DroverError =>
    refuse(`invalid mount config for type "${kind}": ${problem}`);
  const destination = cleanDestination(target, refuseMount);
  const mode = readMode(modeText, isBind, () => refuse(`invalid mode: ${modeText}`));
  if (isBind) {
    return {
      Type: 'bind',
      Source: cleanSource(source),
      Destination: destination,
      Mode: modeText,
      RW: !mode.readOnly,
      Propagation: mode.propagation ?? 'rprivate',
      createSource: true,
      ...(mode.readOnly ? { recursivelyReadOnly: true } : {}),
    };
  }
  checkVolumeName(source, refuse);
  return {
    Type: 'volume',
    Name: source,
    Source: '',
    Destination: destination,
    Driver: volumeDriver || 'local',
    Mode: modeText === '' ? 'z' : modeText,
    RW: !mode.readOnly,
    Propagation: '',
    copyUp: !mode.noCopy,
    volume: { labels: {}, driver: volumeDriver, options: {} },
  };
}

function cleanSource(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function readMode(
  text: string,
  isBind: boolean,
  refuse: () => DroverError,
): { readOnly: boolean; noCopy: boolean; propagation: string | undefined } {
  const words = text === '' ? [] : text.split(',');
  if (new Set(words).size !== words.length) throw refuse();
  const access = words.filter((word) => word === 'ro' || word === 'rw');
  const propagations = words.filter((word) => PROPAGATIONS.includes(word));
  const known = (word: string): boolean =>
    word === 'ro' ||
    word === 'rw' ||
    IGNORED_MODES.includes(word) ||
    (isBind ? PROPAGATIONS.includes(word) : word === 'nocopy');
  if (access.length > 1 || propagations.length > 1 || !words.every(known)) throw refuse();
  return {
    readOnly: access[0] === 'ro',
    noCopy: words.includes('nocopy'),
    propagation: propagations[0],
  };
}

function checkVolumeName(name: string, refuse: (problem: string) => DroverError): void {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) {
    throw refuse(
      `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }
}

function anonymousVolume(destination: string, driver: string): PlannedMount {
  return {
    Type: 'volume',
    Source: '',
    Destination: destination,
    Driver: driver || 'local',
    Mode: '',
    RW: true,
    Propagation: '',
    anonymous: true,
    copyUp: true,
    volume: { labels: {}, driver, options: {} },
  };
}

function mountOfSpec(spec: MountSpec): PlannedMount {
  const refuse = (problem: string): DroverError =>
    invalid(`invalid mount config for type "${spec.Type}": ${problem}`);
  if (spec.Target === '') throw refuse('field Target must not be empty');
  const destination = cleanDestination(spec.Target, refuse);
  checkSpecOptions(spec, refuse);
  const common = { Destination: destination, RW: !(spec.ReadOnly ?? false) };
  switch (spec.Type) {
    case 'bind':
      return bindOfSpec(spec, common, refuse);
    case 'volume':
      return volumeOfSpec(spec, common, refuse);
    case 'tmpfs':
      if (spec.Source !== '') throw refuse('field Source must not be specified');
      return { ...common, Type: 'tmpfs', Source: '', Mode: '', Propagation: '', options: tmpfsOptions(spec) };
  }
}

function checkSpecOptions(spec: MountSpec, refuse: (problem: string) => DroverError): void {
  const options = { bind: 'BindOptions', volume: 'VolumeOptions', tmpfs: 'TmpfsOptions' } as const;
  for (const [type, field] of Object.entries(options)) {
    if (type !== spec.Type && field in spec) throw refuse(`field ${field} must not be specified`);
  }
}

function bindOfSpec(
  spec: MountSpec,
  common: { Destination: string; RW: boolean },
  refuse: (problem: string) => DroverError,
): PlannedMount {
  if (spec.Source === '') throw refuse('field Source must not be empty');
  if (!spec.Source.startsWith('/')) {
    throw refuse(`invalid mount path: '${spec.Source}' mount path must be absolute`);
  }
  const { Propagation = '', NonRecursive = false, CreateMountpoint = false } = spec.BindOptions ?? {};
  const { ReadOnlyNonRecursive = false, ReadOnlyForceRecursive = false } = spec.BindOptions ?? {};
  if (Propagation !== '' && !PROPAGATIONS.includes(Propagation)) {
    throw refuse(`invalid propagation mode: ${Propagation}`);
  }
  if (ReadOnlyForceRecursive && (ReadOnlyNonRecursive || NonRecursive))
    throw refuse('ReadOnlyForceRecursive cannot be combined with ReadOnlyNonRecursive or NonRecursive');
  if ((ReadOnlyForceRecursive || ReadOnlyNonRecursive) && common.RW)
    throw refuse('ReadOnlyForceRecursive and ReadOnlyNonRecursive are for read-only mounts');
  const recursivelyReadOnly = !common.RW && !NonRecursive && !ReadOnlyNonRecursive;
  return {
    ...common,
    Type: 'bind',
    Source: cleanSource(spec.Source),
    Mode: '',
    Propagation: Propagation || 'rprivate',
    createSource: CreateMountpoint,
    ...(NonRecursive ? { options: ['bind'] } : {}),
    ...(recursivelyReadOnly ? { recursivelyReadOnly } : {}),
  };
}

function volumeOfSpec(
  spec: MountSpec,
  common: { Destination: string; RW: boolean },
  refuse: (problem: string) => DroverError,
): PlannedMount {
  const { NoCopy = false, Labels = {}, DriverConfig, Subpath = '' } = spec.VolumeOptions ?? {};
  if (!isLocal(Subpath)) throw refuse('subpath must be a relative path within the volume');
  if (spec.Source !== '') checkVolumeName(spec.Source, refuse);
  const driver = DriverConfig?.Name ?? '';
  return {
    ...common,
    Type: 'volume',
    ...(spec.Source === '' ? { anonymous: true } : { Name: spec.Source }),
    Source: '',
    Driver: driver || 'local',
    Mode: 'z',
    Propagation: '',
    // what the image has in the place is no part of a volume that is there already
    ...(Subpath === '' ? { copyUp: !NoCopy } : { subpath: Subpath }),
    volume: { labels: Labels, driver, options: DriverConfig?.Options ?? {} },
  };
}

/** By its words alone, as filepath.IsLocal in Go; empty is nothing. */
function isLocal(path: string): boolean {
  return (
    path === '' ||
    (!path.startsWith('/') && !/^\.\.(\/|$)/.test(posix.normalize(path)) && !path.includes('\0'))
  );
}

const TMPFS_DEFAULTS: readonly string[] = ['noexec', 'nosuid', 'nodev'];

/** A `--mount type=tmpfs`; sticky and writable by all unless a mode is given. */
function tmpfsOptions(spec: MountSpec): string[] {
  const { SizeBytes = 0, Mode = 0 } = spec.TmpfsOptions ?? {};
  return [
    ...TMPFS_DEFAULTS,
    `mode=${(Mode === 0 ? 0o1777 : Mode).toString(8)}`,
    ...(SizeBytes === 0 ? [] : [`size=${SizeBytes}`]),
    ...(spec.ReadOnly === true ? ['ro'] : []),
  ];
}

/** Mount options that `--tmpfs path:options` may carry, by the part before `=`. */
const TMPFS_WORDS: readonly string[] = (
  'async atime bind defaults dev diratime dirsync exec gid huge iversion loud mand mode mpol nr_blocks nr_inodes ' +
  'noatime nodev nodiratime noexec noiversion nomand norelatime nostrictatime nosuid private rbind relatime remount ' +
  'ro rprivate rshared rslave runbindable rw shared size slave strictatime suid sync uid unbindable'
).split(' ');

function tmpfsMount(path: string, text: string): PlannedMount {
  const refuse = (problem: string): DroverError => invalid(`invalid tmpfs: '${path}': ${problem}`);
  const destination = cleanDestination(path, refuse);
  const words = text === '' ? [] : text.split(',');
  const unknown = words.find((word) => !TMPFS_WORDS.includes(word.split('=')[0] ?? ''));
  if (unknown !== undefined) throw invalid(`invalid tmpfs option ["${unknown}"]`);
  const opposite = new Map([
    ['noexec', 'exec'],
    ['nosuid', 'suid'],
    ['nodev', 'dev'],
  ]);
  const defaults = TMPFS_DEFAULTS.filter((word) => !words.includes(opposite.get(word) ?? ''));
  return {
    Type: 'tmpfs',
    Source: '',
    Destination: destination,
    Mode: text,
    RW: !words.includes('ro'),
    Propagation: '',
    options: [...new Set([...defaults, ...words])],
  };
}

/** What `container[:ro|rw]` lends: its volumes and binds, at the same places. */
function lentMounts(text: string, container: (reference: string) => ContainerRecord): PlannedMount[] {
  const [reference = '', mode = ''] = text.split(':');
  if (reference === '' || !['', 'ro', 'rw', 'z', 'Z'].includes(mode)) {
    throw invalid(`invalid volumes-from specification: ${text}`);
  }
  return container(reference)
    .mounts.filter(({ Type }) => Type !== 'tmpfs')
    .map(({ copyUp: _copyUp, anonymous: _anonymous, ...mount }) => ({
      ...mount,
      RW: mount.RW && mode !== 'ro',
    }));
}
