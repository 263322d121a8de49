import { PRODUCT_VERSION } from '#api/product.ts';
import type { ImageBuilder } from '#build/image-builder.ts';
import { Buildkit } from '#buildkit/buildkit.ts';
import { SyncedTrees } from '#buildkit/synced-trees.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';

/** What serves BuildKit's clients, whose files are kept in `contexts`. */
export function openBuildkit(o: { builder: ImageBuilder; layers: LayerStore; contexts: string }): Buildkit {
  const trees = new SyncedTrees({
    directory: o.contexts,
    discard: (path) => o.layers.discard(path),
  });
  return new Buildkit({ builder: o.builder, trees, version: PRODUCT_VERSION });
}
