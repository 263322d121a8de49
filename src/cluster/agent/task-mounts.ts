import type { MountSpec } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { TaskMount } from '#model/task-spec.ts';

/** A task's mount as the engine reads mounts. Throws `invalid` that names what the engine has not. */
export function mountSpecOf(mount: TaskMount, expand: (text: string) => string): MountSpec {
  const { Type, Target, ReadOnly, BindOptions, VolumeOptions, TmpfsOptions } = mount;
  if (Type !== 'bind' && Type !== 'volume' && Type !== 'tmpfs') {
    throw invalid(`invalid mount config for type "${Type}": mounts of this type are not there yet`);
  }
  return {
    Type,
    Source: expand(mount.Source ?? ''),
    Target,
    ...(ReadOnly === undefined ? {} : { ReadOnly }),
    ...(BindOptions === undefined ? {} : { BindOptions }),
    ...(VolumeOptions === undefined ? {} : { VolumeOptions: volumeOptionsOf(VolumeOptions, expand) }),
    ...(TmpfsOptions === undefined ? {} : { TmpfsOptions }),
  };
}

function volumeOptionsOf(
  options: NonNullable<TaskMount['VolumeOptions']>,
  expand: (text: string) => string,
): NonNullable<MountSpec['VolumeOptions']> {
  const { Labels, DriverConfig, ...rest } = options;
  const expanded = (map: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(map).map(([key, value]) => [key, expand(value)]));
  return {
    ...rest,
    ...(Labels === undefined ? {} : { Labels: expanded(Labels) }),
    ...(DriverConfig === undefined
      ? {}
      : { DriverConfig: { ...DriverConfig, Options: expanded(DriverConfig.Options ?? {}) } }),
  };
}
