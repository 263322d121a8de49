import { parseReference } from '#engine/images/reference.ts';
import type { HealthConfig } from '#model/container.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import type { ContainerSpec, FileTarget, TaskMount } from '#model/task-spec.ts';

const MILLISECOND = 1_000_000;

/** What can be said of a container's specification without looking at the cluster: `invalid`, or `not-implemented` by name. */
export function checkContainerSpec(spec: ContainerSpec): void {
  checkImage(spec.Image);
  checkMounts(spec.Mounts ?? []);
  if (spec.Healthcheck !== undefined) checkHealth(spec.Healthcheck);
  if ((spec.StopGracePeriod ?? 0) < 0) throw invalid('ContainerSpec: StopGracePeriod cannot be negative');
  for (const entry of spec.Env ?? []) {
    if (entry === '' || entry.startsWith('='))
      throw invalid(`ContainerSpec: invalid environment variable: ${JSON.stringify(entry)}`);
  }
  checkReferences(spec);
}

/** An image as a client names it; anything the engine can read. */
function checkImage(image: string): void {
  if (image === '') throw invalid('ContainerSpec: image reference must be provided');
  try {
    parseReference(image);
  } catch (cause) {
    throw invalid(`ContainerSpec: ${JSON.stringify(image)} is not a valid repository/tag`, { cause });
  }
}

function checkMounts(mounts: readonly TaskMount[]): void {
  const targets = new Set<string>();
  for (const mount of mounts) {
    checkMount(mount);
    if (targets.has(mount.Target)) throw invalid(`ContainerSpec: duplicate mount point: ${mount.Target}`);
    targets.add(mount.Target);
  }
}

function checkMount(mount: TaskMount): void {
  const { Type, Source = '', Target } = mount;
  const wrong = (what: string): Error => invalid(`invalid mount config for type "${Type}": ${what}`);
  if (Type === 'image' || Type === 'npipe' || Type === 'cluster')
    throw notImplemented(`mounts of type "${Type}" are not there: use bind, volume or tmpfs`);
  if (Target === '') throw wrong('field Target must not be empty');
  if (!Target.startsWith('/')) throw wrong(`invalid mount path: '${Target}' mount path must be absolute`);
  if (Type === 'bind') {
    if (Source === '') throw wrong('field Source must not be empty');
    if (!Source.startsWith('/')) throw wrong(`invalid mount path: '${Source}' mount path must be absolute`);
  }
  if (Type === 'tmpfs' && Source !== '') throw wrong('field Source must not be specified');
  const driver = mount.VolumeOptions?.DriverConfig?.Name ?? '';
  if (driver !== '' && driver !== 'local')
    throw notImplemented(`volume driver "${driver}" is not there: use local`);
}

function checkHealth(health: HealthConfig): void {
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const duration = health[field] ?? 0;
    if (duration !== 0 && duration < MILLISECOND)
      throw invalid(`ContainerSpec: ${field} in HealthConfig cannot be less than 1ms`);
  }
  if ((health.Retries ?? 0) < 0) throw invalid('ContainerSpec: Retries in HealthConfig cannot be negative');
}

interface FileReference {
  readonly File?: FileTarget;
  readonly id: string;
  readonly name: string;
}

/** The secrets and configs of a container, alike. */
export function fileReferences(spec: ContainerSpec): Record<'secret' | 'config', FileReference[]> {
  return {
    secret: (spec.Secrets ?? []).map(({ SecretID, SecretName, ...rest }) => ({
      id: SecretID,
      name: SecretName,
      ...rest,
    })),
    config: (spec.Configs ?? []).map(({ ConfigID, ConfigName, Runtime: _none, ...rest }) => ({
      id: ConfigID,
      name: ConfigName,
      ...rest,
    })),
  };
}

function checkReferences(spec: ContainerSpec): void {
  for (const [kind, references] of Object.entries(fileReferences(spec))) {
    const targets = new Map<string, string>();
    for (const { id, name, File } of references) {
      if (id === '' || name === '') throw invalid(`malformed ${kind} reference`);
      if (File === undefined || File.Name === '')
        throw invalid(`malformed ${kind} reference, no target provided`);
      const other = targets.get(File.Name);
      if (other !== undefined) {
        throw invalid(
          `${kind} references '${other}' and '${name}' have a conflicting target: '${File.Name}'`,
        );
      }
      targets.set(File.Name, name);
    }
  }
}
