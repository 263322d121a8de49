import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DroverError, type ErrorKind, notFound, unavailable } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import type { PullRequest } from '#registry/image-puller.ts';
import { type FetchOutcome, ImageSupply } from './image-supply.ts';

const never = new AbortController().signal;
const IMAGE: Image = {
  id: `sha256:${'1'.repeat(64)}`,
  manifestDigest: `sha256:${'2'.repeat(64)}`,
  configuration: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
  chainIds: [],
  size: 0,
  repoTags: [],
  repoDigests: [],
};

/** A store and a registry of names; `pull` decides what comes of asking for one. */
function supplyOf(o: {
  there?: string[];
  pull?: (request: PullRequest) => Promise<void>;
  fetchImage?: (reference: string) => Promise<FetchOutcome>;
}) {
  const there = new Set(o.there);
  const asked: PullRequest[] = [];
  const supply = new ImageSupply({
    images: {
      resolve: (name) => {
        if (!there.has(name)) throw notFound(`No such image: ${name}`);
        return IMAGE;
      },
    },
    puller: {
      pull: async (request) => {
        asked.push(request);
        await o.pull?.(request);
        there.add(request.reference.familiar);
        return IMAGE;
      },
    },
    fetchImage: async (reference) => {
      const outcome = await o.fetchImage?.(reference);
      if (outcome?.fetched === true) there.add(reference);
      return outcome ?? { fetched: false, because: 'no other node has it' };
    },
  });
  return { supply, asked };
}

function failing(kind: ErrorKind, message = 'no'): () => Promise<never> {
  return async () => {
    throw new DroverError(kind, message);
  };
}

test('what is there is asked of nobody', async () => {
  const { supply, asked } = supplyOf({ there: ['web', IMAGE.id] });
  await supply.ensure('web', { signal: never });
  await supply.ensure(IMAGE.id, { signal: never });
  assert.deepEqual(asked, []);
});

test('the credentials of the assignment are the registry’s to see', async () => {
  const registryAuth = Buffer.from(JSON.stringify({ username: 'me', password: 'pw' })).toString('base64url');
  const { supply, asked } = supplyOf({});
  await supply.ensure('web', { registryAuth, signal: never });
  assert.deepEqual(asked[0]?.credentials, { username: 'me', password: 'pw' });
});

for (const kind of ['not-found', 'unauthorized', 'forbidden'] as const) {
  test(`a registry’s ${kind} is Docker’s “No such image”, with where it was looked for`, async () => {
    const { supply } = supplyOf({ pull: failing(kind, 'manifest unknown') });
    await assert.rejects(supply.ensure('web:1', { signal: never }), {
      kind: 'not-found',
      message: 'No such image: web:1 (registry: manifest unknown; no other node has it)',
    });
  });
}

test('a registry that does not answer is worth another try', async () => {
  const { supply } = supplyOf({
    pull: async () => {
      throw unavailable('registry is down');
    },
  });
  await assert.rejects(supply.ensure('web', { signal: never }), {
    kind: 'unavailable',
    message: 'No such image: web (registry: registry is down; no other node has it)',
  });
});

test('what no registry has, or an ID, may come from elsewhere', async () => {
  const fetchImage = async () => ({ fetched: true }) as const;
  const { supply, asked } = supplyOf({ pull: failing('unavailable'), fetchImage });
  await supply.ensure('web', { signal: never });
  await supply.ensure(IMAGE.id, { signal: never });
  assert.equal(asked.length, 1, 'no registry knows an ID');
});

test('an ID is asked of no registry, and its error names none', async () => {
  const fetchImage = async () => ({ fetched: false, because: 'node b: it broke off' }) as const;
  const { supply } = supplyOf({ fetchImage });
  await assert.rejects(supply.ensure(IMAGE.id, { signal: never }), {
    ...{ kind: 'not-found', message: `No such image: ${IMAGE.id} (node b: it broke off)` },
  });
});

test('it is fetched once, as long as anybody wants it', async () => {
  const gate = Promise.withResolvers<void>();
  const { supply, asked } = supplyOf({ pull: () => gate.promise });
  const first = new AbortController();
  const one = supply.ensure('web', { signal: first.signal });
  const two = supply.ensure('web', { signal: never });
  first.abort();
  await assert.rejects(one, { kind: 'cancelled' });
  assert.equal(asked[0]?.signal.aborted, false);
  gate.resolve();
  await two;
  assert.equal(asked.length, 1);
});

test('what nobody wants any more is given up, and begun anew by the next', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { supply, asked } = supplyOf({ pull: () => gates[asked.length - 1]?.promise ?? Promise.resolve() });
  const stop = new AbortController();
  const one = supply.ensure('web', { signal: stop.signal });
  stop.abort();
  await assert.rejects(one, { kind: 'cancelled' });
  assert.equal(asked[0]?.signal.aborted, true);
  const two = supply.ensure('web', { signal: never });
  gates[1]?.resolve();
  await two;
  assert.equal(asked.length, 2);
});
