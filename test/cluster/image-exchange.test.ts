import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { IMAGE_METHOD } from '#cluster/images/image-protocol.ts';
import { eventually } from '../support/docker-host.ts';
import { archiveOf, ImageCluster, type ImageNode } from './image-exchange-fixture.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

/** What a node has served, as soon as so many have ended their reading. */
async function servedBy(node: ImageNode, reads: number): Promise<{ layers: number; bytes: number }> {
  await eventually(() => node.served.length >= reads, `${reads} have read`);
  return node.served.reduce(
    (sum, { layers, bytes }) => ({ layers: sum.layers + layers, bytes: sum.bytes + bytes }),
    {
      ...{ layers: 0, bytes: 0 },
    },
  );
}

test('an image comes whole from the node that has it, with its name, and can be given on', async () => {
  using cluster = new ImageCluster();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => cluster.node(name));
  assert.ok(a && b && c);
  const made = await a.make('web:1', 3 * MIB);
  assert.deepEqual(await b.exchange.fetch('web:1', never), { fetched: true });
  const got = b.images.resolve('web:1');
  assert.deepEqual({ ...got, repoTags: [] }, { ...made, repoTags: [] });
  assert.deepEqual(
    b.content().filter((name) => !name.startsWith('blobs')),
    a.content().filter((name) => !name.startsWith('blobs')),
  );
  cluster.network.crash('a:1');
  cluster.nodes.delete('a');
  assert.deepEqual(await c.exchange.fetch(made.id, never), { fetched: true }, 'by its ID');
  assert.deepEqual(c.images.resolve(made.id).repoTags, []);
  assert.equal((await servedBy(b, 1)).layers, 1);
});

test('a layer that is there is not fetched again, nor one that is under way', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  const archive = archiveOf(randomBytes(2 * MIB));
  const [one, two] = [await a.import('one', archive), await a.import('two', archive)];
  assert.notEqual(one.id, two.id);
  assert.deepEqual(one.chainIds, two.chainIds);
  await Promise.all([b.exchange.fetch('one', never), b.exchange.fetch('two', never)]);
  assert.deepEqual(await servedBy(a, 2), { layers: 1, bytes: archive.length });
  await a.import('three', archive);
  await b.exchange.fetch('three', never);
  assert.deepEqual(await servedBy(a, 3), { layers: 1, bytes: archive.length });
});

test('an image that was imported compressed is given too', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  await a.import('web:1', gzipSync(archiveOf(randomBytes(MIB))));
  assert.deepEqual(await b.exchange.fetch('web:1', never), { fetched: true });
});

test('a node that breaks off in the middle leaves nothing half there, and another one is tried', async () => {
  using cluster = new ImageCluster();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => cluster.node(name));
  assert.ok(a && b && c);
  const archive = archiveOf(randomBytes(4 * MIB));
  const made = await a.import('web:1', archive);
  // the same content on two nodes
  await c.exchange.fetch('web:1', never);
  let sent = 0;
  a.onBytes = (bytes) => {
    if (++sent === 8) cluster.network.crash('a:1');
    return bytes;
  };
  assert.deepEqual(await b.exchange.fetch('web:1', never), { fetched: true });
  assert.equal(b.images.resolve('web:1').id, made.id);
  assert.ok(sent >= 8);
  assert.equal((await servedBy(c, 1)).bytes, archive.length);
  assert.deepEqual(
    b.content().filter((name) => /^(tmp|trash)/.test(name)),
    [],
  );
});

test('where the only one breaks off, the error says who it was, and nothing stays', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  await a.make('web:1', 4 * MIB);
  let sent = 0;
  a.onBytes = (bytes) => {
    if (++sent === 8) cluster.network.crash('a:1');
    return bytes;
  };
  const outcome = await b.exchange.fetch('web:1', never);
  assert.match(outcome.fetched ? '' : outcome.because, /^node host-a: .*broke/);
  assert.deepEqual(b.content(), []);
  assert.deepEqual(b.images.list(), []);
});

test('what does not have its digest is refused, wherever it was changed', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  const made = await a.make('web:1', MIB);
  for (const [number, why] of [
    [1, /manifest|JSON/],
    [2, /manifest|configuration/],
    [5, /as it should be/],
  ] as const) {
    let sent = 0;
    a.onBytes = (bytes) => {
      if (++sent !== number) return bytes;
      const changed = Buffer.from(bytes);
      // in documents a digit of a digest
      const at = Math.max(0, changed.indexOf('sha256:')) + 10;
      changed.write(changed.toString('latin1', at, at + 1) === '0' ? '1' : '0', at);
      return changed;
    };
    const outcome = await b.exchange.fetch(`web:1@${made.id}`, never);
    assert.match(outcome.fetched ? 'fetched' : outcome.because, why, `message ${number}`);
    assert.deepEqual(b.content(), []);
  }
});

test('a pinned image is what comes, and a name that means another one here keeps meaning that', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  const theirs = await a.make('web:1', MIB);
  const own = await b.make('web:1', MIB);
  const pinned = `web:1@${theirs.id}`;
  assert.throws(() => b.images.resolve(pinned), /No such image/);
  assert.deepEqual(await b.exchange.fetch(pinned, never), { fetched: true });
  assert.equal(b.images.resolve(pinned).id, theirs.id);
  assert.equal(b.images.resolve('web:1').id, own.id);
});

test('a repository’s digest goes along', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  const made = await a.make('r.example/web:1', MIB);
  const index = `sha256:${'9'.repeat(64)}`;
  const name = 'r.example/web';
  a.images.pointDigest({ name, familiar: name }, index, made.id);
  assert.deepEqual(await b.exchange.fetch(`${name}:1@${index}`, never), { fetched: true });
  assert.equal(b.images.resolve(`${name}@${index}`).id, made.id);
  assert.deepEqual(b.images.resolve(made.id).repoTags, [`${name}:1`]);
});

test('only so many read at once; the others come back, and all get it', async () => {
  using cluster = new ImageCluster();
  const a = cluster.node('a');
  await a.make('web:1', 2 * MIB);
  const others = Array.from({ length: 7 }, (_, i) => cluster.node(`n${i}`));
  // nobody else has it before all have asked
  const known = others.map((node) => ({ node, record: node.record() }));
  for (const { node, record } of known) node.record = () => record;
  const outcomes = await Promise.all(others.map(({ exchange }) => exchange.fetch('web:1', never)));
  assert.ok(outcomes.every(({ fetched }) => fetched));
  assert.ok(a.sentAway > 0);
  assert.equal((await servedBy(a, 7)).layers, 7);
});

test('a node that was removed is refused, and who is in no cluster finds nothing', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  await a.make('web:1', MIB);
  cluster.removed.add('b');
  const outcome = await b.exchange.fetch('web:1', never);
  assert.match(outcome.fetched ? '' : outcome.because, /node b is not of this cluster any more/);
  assert.deepEqual(a.served, []);
});

test('an image that nobody has is looked for, and a fetch that is cancelled ends', async () => {
  using cluster = new ImageCluster();
  const [a, b] = ['a', 'b'].map((name) => cluster.node(name));
  assert.ok(a && b);
  assert.deepEqual(await b.exchange.fetch('none:1', never), {
    fetched: false,
    because: 'no other node has it',
  });
  await a.make('web:1', 4 * MIB);
  const cancel = new AbortController();
  let sent = 0;
  a.onBytes = (bytes) => {
    if (++sent === 8) cancel.abort();
    return bytes;
  };
  await assert.rejects(b.exchange.fetch('web:1', cancel.signal), { kind: 'cancelled' });
  assert.deepEqual(b.content(), []);
});

test('nothing but layers of the image is read, and nothing by who has no certificate', async () => {
  using cluster = new ImageCluster();
  const a = cluster.node('a');
  await a.make('web:1', MIB);
  const other = await a.make('other:1', MIB);
  cluster.node('x');
  const channel = await cluster.network
    .node('x:2', { nodeId: 'x', role: 'worker' })
    .open('a:1', IMAGE_METHOD, never, 'a');
  await channel.send({ image: 'web:1' });
  await channel.send({ layer: other.configuration.rootfs.diff_ids[0] });
  await assert.rejects(
    async () => {
      for await (const _message of channel.messages);
    },
    { kind: 'not-found' },
  );
  channel.close();
  const stranger = cluster.network.node('y:1', undefined);
  await assert.rejects(stranger.open('a:1', IMAGE_METHOD, never, 'a'), { kind: 'forbidden' });
});
