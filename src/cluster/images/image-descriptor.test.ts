import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OCI_INDEX } from '#engine/images/image-documents.ts';
import { parseReference } from '#engine/images/reference.ts';
import { DroverError, type ErrorKind } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import { describeImage, pinImage } from './image-descriptor.ts';

const never = new AbortController().signal;
const ID = `sha256:${'1'.repeat(64)}`;
const REMOTE = `sha256:${'2'.repeat(64)}`;

function sources(o: { local?: Partial<Image>; fails?: ErrorKind }) {
  const image: Image = {
    id: ID,
    manifestDigest: `sha256:${'3'.repeat(64)}`,
    configuration: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
    chainIds: [],
    size: 0,
    repoTags: ['web:1'],
    repoDigests: [],
    ...o.local,
  };
  return {
    images: {
      named: () => (o.local === undefined ? undefined : image),
      documents: () => ({ manifest: Buffer.from('{ }'), configuration: Buffer.from('{}') }),
    },
    puller: {
      manifest: async () => {
        if (o.fails !== undefined) throw new DroverError(o.fails, 'no');
        return { data: Buffer.from('{}'), digest: REMOTE, mediaType: OCI_INDEX };
      },
      platforms: async () => [{ architecture: 'arm64', os: 'linux' }],
    },
  };
}

const web = { reference: parseReference('web:1'), credentials: {}, signal: never };

test('the registry says what a name means, whatever is here', async () => {
  const { digest, platforms } = await describeImage(sources({ local: {} }), web);
  assert.equal(digest, REMOTE);
  assert.deepEqual(platforms, [{ architecture: 'arm64', os: 'linux' }]);
});

for (const fails of ['not-found', 'unauthorized', 'forbidden', 'unavailable'] as const) {
  test(`with a registry's ${fails} the image that is here is meant, by its ID`, async () => {
    const { digest, size, platforms } = await describeImage(sources({ local: {}, fails }), web);
    assert.equal(digest, ID);
    assert.equal(size, 2);
    assert.deepEqual(platforms, [{ architecture: 'amd64', os: 'linux' }]);
  });
  test(`with a registry's ${fails} and no image here it is the registry's error`, async () => {
    await assert.rejects(describeImage(sources({ fails }), web), { kind: fails });
    const { puller } = sources({ local: {}, fails });
    await assert.rejects(describeImage({ puller }, web), { kind: fails }, 'nor where images do not count');
  });
}

test('an image that came from its repository is meant by the digest that it has there', async () => {
  const local = { repoDigests: [`other@${ID}`, `web@${REMOTE}`] };
  assert.equal((await describeImage(sources({ local, fails: 'unavailable' }), web)).digest, REMOTE);
});

test('a name is pinned with its tag, and what has a digest stays as it is', async () => {
  const o = { registryAuth: undefined, signal: never };
  const local = sources({ local: {}, fails: 'unavailable' });
  assert.equal(await pinImage(local, { ...o, image: 'web' }), `web:latest@${ID}`);
  assert.equal(await pinImage(local, { ...o, image: 'r.example/web:2' }), `r.example/web:2@${ID}`);
  assert.equal(await pinImage(local, { ...o, image: `web@${REMOTE}` }), `web@${REMOTE}`);
});
