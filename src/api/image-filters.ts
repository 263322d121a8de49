import { matchesGlob } from 'node:path';
import { invalid } from '#model/errors.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';
import type { Image } from '#model/image.ts';
import { booleanFilter, untilFilter } from './filters.ts';

export const IMAGE_FILTERS: readonly string[] = [
  'before',
  'dangling',
  'label',
  'reference',
  'since',
  'until',
];

/** The images that meet every condition; `resolve` finds the image that `before` and `since` name. */
export function filterImages(
  images: readonly Image[],
  filters: Filters,
  o: { resolve: (reference: string) => Image; nowMs: number },
): Image[] {
  const dangling = booleanFilter(filters, 'dangling');
  const until = untilFilter(filters, o.nowMs);
  const before = boundary(filters, 'before', o.resolve);
  const since = boundary(filters, 'since', o.resolve);
  return images.flatMap((image) => {
    const created = createdMs(image);
    if (dangling !== undefined && dangling !== (image.repoTags.length === 0)) return [];
    if (until !== undefined && created >= until) return [];
    if (before !== undefined && created >= before) return [];
    if (since !== undefined && created <= since) return [];
    if (!matchesLabels(filters, image.configuration.config?.Labels ?? {})) return [];
    return withReference(image, filters['reference']);
  });
}

function createdMs({ configuration }: Image): number {
  return Date.parse(configuration.created ?? '') || 0;
}

function boundary(
  filters: Filters,
  key: 'before' | 'since',
  resolve: (reference: string) => Image,
): number | undefined {
  const references = filters[key] ?? [];
  if (references.length > 1) throw invalid(`invalid filter: more than one ${key}`);
  const [reference] = references;
  return reference === undefined ? undefined : createdMs(resolve(reference));
}

/** The image with only those of its names that match one of the patterns, or nothing if none does. */
function withReference(image: Image, patterns: readonly string[] | undefined): Image[] {
  if (patterns === undefined || patterns.length === 0) return [image];
  const named = (name: string): boolean => patterns.some((pattern) => matchesReference(name, pattern));
  const repoTags = image.repoTags.filter(named);
  const repoDigests = image.repoDigests.filter(named);
  return repoTags.length + repoDigests.length === 0 ? [] : [{ ...image, repoTags, repoDigests }];
}

/** A pattern matches the whole reference, or its name without the tag; a star stops at slashes. */
function matchesReference(reference: string, pattern: string): boolean {
  const name = reference.includes('@')
    ? reference.slice(0, reference.indexOf('@'))
    : reference.replace(/:[^:/]*$/, '');
  return matchesGlob(reference, pattern) || matchesGlob(name, pattern);
}
