import type { ImageLineage } from '#model/image.ts';

/** The OCI image specification's annotations (annotations.md) that say what an image was built on. */
export function baseAnnotations(lineage: ImageLineage): Record<string, string> {
  return {
    'org.opencontainers.image.base.digest': lineage.baseDigest,
    'org.opencontainers.image.base.name': lineage.baseName,
  };
}
