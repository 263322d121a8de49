import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Filters } from '#model/filters.ts';
import type { Image } from '#model/image.ts';
import { filterImages } from './image-filters.ts';

function image(name: string, created: string, change: Partial<Image> = {}): Image {
  return {
    id: `sha256:${name}`,
    manifestDigest: '',
    configuration: {
      created,
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [] },
      config: { Labels: { of: name } },
    },
    chainIds: [],
    size: 1,
    repoTags: [`${name}:latest`],
    repoDigests: [],
    ...change,
  };
}

const images = [
  image('web', '2026-01-01T00:00:00Z', { repoTags: ['web:1', 'reg:5000/team/web:1'] }),
  image('store', '2026-01-02T00:00:00Z'),
  image('bare', '2026-01-03T00:00:00Z', { repoTags: [] }),
];

function ids(filters: Filters): string[] {
  const resolve = (reference: string): Image =>
    images.find(({ id }) => id.endsWith(reference)) ?? image('', '');
  return filterImages(images, filters, { resolve, nowMs: Date.parse('2026-01-04T00:00:00Z') }).map(({ id }) =>
    id.slice('sha256:'.length),
  );
}

test('images by condition', () => {
  assert.deepEqual(ids({}), ['web', 'store', 'bare']);
  assert.deepEqual(ids({ dangling: ['true'] }), ['bare']);
  assert.deepEqual(ids({ dangling: ['false'] }), ['web', 'store']);
  assert.deepEqual(ids({ label: ['of=store'] }), ['store']);
  assert.deepEqual(ids({ before: ['store'] }), ['web']);
  assert.deepEqual(ids({ since: ['store'] }), ['bare']);
  assert.deepEqual(ids({ until: ['60h'] }), ['web']);
  assert.throws(() => ids({ before: ['web', 'store'] }), /more than one before/);
});

test('a reference is a pattern on names', () => {
  assert.deepEqual(ids({ reference: ['web'] }), ['web']);
  assert.deepEqual(ids({ reference: ['w*:1'] }), ['web']);
  assert.deepEqual(ids({ reference: ['*'] }), ['web', 'store']);
  assert.deepEqual(ids({ reference: ['reg:5000/*/web', 'store:latest'] }), ['web', 'store']);
  assert.deepEqual(ids({ reference: ['none'] }), []);
});
