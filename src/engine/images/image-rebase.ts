import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { conflict, invalid } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import { baseOf, PACKAGE_DATABASES, rebasedConfiguration } from './image-lineage.ts';
import type { ImageStore } from './image-store.ts';
import { parseReference } from './reference.ts';

/** What became of one image. */
export interface RebasedImage {
  tags: string[];
  from: string;
  to: string;
}

/**
 * Puts an image that was built on a base onto the base as it is now, without building it again: its own layers stay as they are. One
 * whose own layers hold packages is refused, because they would hide what the new base brings; `force` does it. An image that
 * stands on the base as it is now, or on another one, is `invalid`.
 */
export function rebaseImage(
  parts: { images: ImageStore; layers: LayerStore; events: EventBus },
  o: { image: string; base: string; force: boolean; nowIso: string },
): RebasedImage {
  const { images } = parts;
  const newBase = images.resolve(o.base);
  const image = images.resolve(o.image);
  if (image.id === newBase.id || !standsOn(image, o.base, newBase))
    throw invalid(`${nameOf(image)} was not built on an older ${o.base}`);
  const oldBase = baseOf(image, images.list());
  if (oldBase === undefined)
    throw conflict(`${nameOf(image)}: the base that it was built on is not here any more, build it again`);
  if (!o.force) checkOwnLayers(parts.layers, image, oldBase);
  return rebaseOne(parts, image, oldBase, newBase, o.nowIso);
}

/** Was built on the name, and not on what it means now. */
function standsOn(image: Image, base: string, newBase: Image): boolean {
  const { lineage } = image;
  if (lineage === undefined || lineage.baseImageId === newBase.id) return false;
  const wanted = parseReference(base);
  return lineage.baseName === `${wanted.name}:${wanted.tag ?? 'latest'}`;
}

function checkOwnLayers(layers: LayerStore, image: Image, oldBase: Image): void {
  const own = image.configuration.rootfs.diff_ids.slice(oldBase.configuration.rootfs.diff_ids.length);
  for (const diffId of own) {
    const found = PACKAGE_DATABASES.find((path) => existsSync(join(layers.path(diffId), path)));
    if (found === undefined) continue;
    throw conflict(
      `${nameOf(image)} installs packages of its own (${found}), which would hide those of the new base`,
      {
        hint: 'Build it again instead; or rebase it all the same with --force.',
      },
    );
  }
}

function rebaseOne(
  parts: { images: ImageStore; events: EventBus },
  image: Image,
  oldBase: Image,
  newBase: Image,
  created: string,
): RebasedImage {
  const { lineage } = image;
  if (lineage === undefined) throw invalid(`${nameOf(image)} was not built here`);
  const configuration = rebasedConfiguration({
    image: image.configuration,
    oldBase: oldBase.configuration,
    newBase: newBase.configuration,
    created,
  });
  const rebased = parts.images.add({
    configuration: Buffer.from(JSON.stringify(configuration)),
    lineage: {
      baseName: lineage.baseName,
      baseDigest: newBase.manifestDigest,
      baseImageId: newBase.id,
      baseLayers: newBase.configuration.rootfs.diff_ids.length,
    },
  });
  for (const tag of image.repoTags) parts.images.point(parseReference(tag), rebased.id);
  parts.events.publish('image', 'tag', rebased.id, { name: nameOf(image) });
  return { tags: image.repoTags, from: image.id, to: rebased.id };
}

function nameOf(image: Image): string {
  return image.repoTags[0] ?? image.id;
}
