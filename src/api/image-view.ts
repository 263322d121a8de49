import type { Image } from '#model/image.ts';
import type { ApiVersion } from './version.ts';

/** Wire shapes of an image: what `docker images` and `docker image inspect` print. */

/** Before API 1.44 the size was told twice. */
const VIRTUAL_SIZE_UNTIL = 1043;

export function createdSeconds(image: Image): number {
  const time = Date.parse(image.configuration.created ?? '');
  return Number.isNaN(time) ? 0 : Math.floor(time / 1000);
}

/** A line of the image list; `containers` -1 is "not counted". */
export function imageSummary(image: Image, o: { version: ApiVersion; containers: number }): object {
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Created: createdSeconds(image),
    Size: image.size,
    ...(o.version <= VIRTUAL_SIZE_UNTIL ? { VirtualSize: image.size } : {}),
    SharedSize: -1,
    Labels: image.configuration.config?.Labels ?? null,
    Containers: o.containers,
  };
}

export function imageInspect(image: Image, o: { version: ApiVersion; lowerDirs: string[] }): object {
  const { configuration } = image;
  const [upper = '', ...lower] = o.lowerDirs;
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: '',
    Comment: configuration.comment ?? configuration.history?.at(-1)?.comment ?? '',
    Created: configuration.created ?? '',
    DockerVersion: '',
    Author: configuration.author ?? '',
    Config: {
      User: '',
      Env: null,
      Cmd: null,
      Entrypoint: null,
      Volumes: null,
      WorkingDir: '',
      OnBuild: null,
      Labels: null,
      ...configuration.config,
    },
    Architecture: configuration.architecture,
    ...(configuration.variant === undefined ? {} : { Variant: configuration.variant }),
    Os: configuration.os,
    Size: image.size,
    ...(o.version <= VIRTUAL_SIZE_UNTIL ? { VirtualSize: image.size } : {}),
    GraphDriver: {
      Name: 'overlay2',
      Data: { UpperDir: upper, ...(lower.length === 0 ? {} : { LowerDir: lower.join(':') }) },
    },
    RootFS: { Type: 'layers', Layers: configuration.rootfs.diff_ids },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}
