import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { applyChanges } from '#engine/images/image-changes.ts';
import type { ImageConfig } from '#engine/images/image-settings.ts';
import { isId } from '#engine/images/image-store.ts';
import { parseReference, referenceKey } from '#engine/images/reference.ts';
import { makeWorkDirectory } from '#engine/layers/layer-workers.ts';
import type { ContainerConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { Image, ImageConfiguration, ImageLineage } from '#model/image.ts';
import { completeConfig } from './container-config.ts';
import { copyWritten } from './container-files.ts';
import type { ContainerParts } from './container-parts.ts';
import type { StoredContainer } from './container-table.ts';
import { timestampOf } from './timestamp.ts';

export interface CommitRequest {
  /** `repository[:tag]`; empty leaves the image without a name. */
  reference: string;
  author: string;
  comment: string;
  /** Dockerfile instructions that change the configuration. */
  changes: readonly string[];
  /** Over the container's own configuration. */
  config: Partial<ContainerConfig>;
}

/**
 * Makes an image of a container: its image's layers, and one of what it wrote, where it wrote anything. `paused` is held while that is
 * copied, and let go of before the layer is made of the copy.
 */
export async function commitContainer(
  parts: ContainerParts,
  record: StoredContainer,
  o: CommitRequest & { paused: AsyncDisposable },
): Promise<Image> {
  const { images, layers, clock } = parts;
  const reference = o.reference === '' ? undefined : parseReference(o.reference);
  if (reference?.digest !== undefined) throw invalid('refusing to create a tag with a digest reference');
  const config = applyChanges(imageConfig(record, o.config), o.changes);
  const base = images.resolve(record.imageId);
  using lease = layers.blobs.lease();
  using work = makeWorkDirectory(parts.dataRoot);
  const written = join(work.path, 'written');
  {
    await using _paused = o.paused;
    await copyWritten(parts, record, written);
  }
  const isEmpty = readdirSync(written).length === 0;
  const own = isEmpty ? [] : [(await layers.adopt({ directory: written, lease })).diffId];
  const { configuration: below } = base;
  const created = timestampOf(clock.nowMs());
  const entry = {
    created,
    created_by: (record.config.Cmd ?? []).join(' '),
    ...(o.author === '' ? {} : { author: o.author }),
    ...(o.comment === '' ? {} : { comment: o.comment }),
    ...(isEmpty ? { empty_layer: true } : {}),
  };
  const configuration: ImageConfiguration = {
    created,
    ...(o.author === '' ? {} : { author: o.author }),
    ...(o.comment === '' ? {} : { comment: o.comment }),
    architecture: below.architecture,
    ...(below.variant ? { variant: below.variant } : {}),
    os: below.os,
    config,
    rootfs: { type: 'layers', diff_ids: [...below.rootfs.diff_ids, ...own] },
    history: [...(below.history ?? []), entry],
  };
  const lineage = lineageOf(record, base);
  const image = images.add({
    configuration: Buffer.from(JSON.stringify(configuration)),
    ...(lineage === undefined ? {} : { lineage }),
  });
  if (reference !== undefined) images.point(reference, image.id);
  return images.resolve(image.id);
}

/** What of a container's configuration an image can say, and nothing that is not set. */
function imageConfig(record: StoredContainer, asked: Partial<ContainerConfig>): ImageConfig {
  const merged = completeConfig({ asked, image: record.config, hostname: record.config.Hostname });
  const { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels } = merged;
  const { StopSignal, Healthcheck, Shell } = merged;
  const said = { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels };
  const set = Object.entries({ ...said, StopSignal, Healthcheck, Shell }).filter(
    ([, value]) => value !== undefined && value !== null && Object.keys(value).length > 0,
  );
  return Object.fromEntries(set);
}

/** As of an image that was built on the container's; undefined where nothing names that one. */
function lineageOf(record: StoredContainer, base: Image): ImageLineage | undefined {
  const asked = record.config.Image;
  const name = isId(asked, base) ? base.repoTags[0] : asked;
  if (name === undefined) return undefined;
  return {
    baseName: referenceKey(parseReference(name)),
    baseDigest: base.manifestDigest,
    baseImageId: base.id,
    baseLayers: base.configuration.rootfs.diff_ids.length,
  };
}
