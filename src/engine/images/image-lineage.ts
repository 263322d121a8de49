import type { Image, ImageConfiguration, ImageHistoryEntry, ImageLineage } from '#model/image.ts';

/** The OCI image specification's annotations (annotations.md) that say what an image was built on. */
const BASE_NAME = 'org.opencontainers.image.base.name';
const BASE_DIGEST = 'org.opencontainers.image.base.digest';

export function baseAnnotations(lineage: ImageLineage): Record<string, string> {
  return { [BASE_DIGEST]: lineage.baseDigest, [BASE_NAME]: lineage.baseName };
}

/**
 * The image here that another one stands on: the one it was built on, or else the one with the most layers that are the lowest of
 * its own. Undefined where there is none.
 */
export function baseOf(image: Image, images: readonly Image[]): Image | undefined {
  const { lineage } = image;
  const built = lineage === undefined ? undefined : images.find(({ id }) => id === lineage.baseImageId);
  if (built !== undefined) return built;
  return images
    .filter((other) => other.id !== image.id && isBelow(other, image))
    .sort((a, b) => b.chainIds.length - a.chainIds.length)[0];
}

/** All layers of `lower` are the lowest of `upper`, which has more. */
function isBelow(lower: Image, upper: Image): boolean {
  const count = lower.chainIds.length;
  return (
    count > 0 && count < upper.chainIds.length && upper.chainIds[count - 1] === lower.chainIds[count - 1]
  );
}

/** Files that a package manager keeps: a layer with one of them holds packages of its own. */
export const PACKAGE_DATABASES: readonly string[] = [
  'var/lib/dpkg/status',
  'lib/apk/db/installed',
  'usr/lib/apk/db/installed',
  'var/lib/rpm',
  'usr/lib/sysimage/rpm',
];

/**
 * The configuration of an image on another base: its own layers and settings on the new base's. A setting that was the old base's
 * is the new base's from now on.
 */
export function rebasedConfiguration(o: {
  image: ImageConfiguration;
  oldBase: ImageConfiguration;
  newBase: ImageConfiguration;
  created: string;
}): ImageConfiguration {
  const { image, oldBase, newBase } = o;
  const own = image.rootfs.diff_ids.slice(oldBase.rootfs.diff_ids.length);
  return {
    ...image,
    created: o.created,
    config: rebasedSettings(image.config ?? {}, oldBase.config ?? {}, newBase.config ?? {}),
    rootfs: { type: 'layers', diff_ids: [...newBase.rootfs.diff_ids, ...own] },
    history: [...(newBase.history ?? []), ...ownHistory(image.history ?? [], oldBase.history ?? [])],
  };
}

type Settings = NonNullable<ImageConfiguration['config']>;

function rebasedSettings(own: Settings, oldBase: Settings, newBase: Settings): Settings {
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
  const keys = new Set([...Object.keys(own), ...Object.keys(newBase)]) as Set<keyof Settings>;
  const result: Record<string, unknown> = {};
  for (const key of keys) {
    const value = same(own[key], oldBase[key]) ? newBase[key] : own[key];
    if (value !== undefined) result[key] = value;
  }
  const env = rebasedEnv(own.Env ?? [], oldBase.Env ?? [], newBase.Env ?? []);
  // The same keys as before, with the values of one or the other.
  return { ...result, ...(env.length === 0 ? {} : { Env: env }) } as Settings;
}

function rebasedEnv(
  own: readonly string[],
  oldBase: readonly string[],
  newBase: readonly string[],
): string[] {
  const changed = own.filter((pair) => !oldBase.includes(pair));
  const names = new Set(changed.map((pair) => pair.split('=', 1)[0]));
  return [...newBase.filter((pair) => !names.has(pair.split('=', 1)[0])), ...changed];
}

function ownHistory(
  history: readonly ImageHistoryEntry[],
  base: readonly ImageHistoryEntry[],
): ImageHistoryEntry[] {
  return history.slice(base.length);
}
