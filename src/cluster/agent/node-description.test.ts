import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventBus } from '#engine/events/event-bus.ts';
import type { Image } from '#model/image.ts';
import type { VolumeRecord } from '#model/volume.ts';
import { NodeDescriber } from './node-description.ts';

function image(digit: string, names: Partial<Image> = {}): Image {
  return {
    id: `sha256:${digit.repeat(64)}`,
    manifestDigest: `sha256:${digit.repeat(64)}`,
    configuration: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
    chainIds: [],
    size: 0,
    repoTags: [],
    repoDigests: [],
    ...names,
  };
}

function volume(Name: string, anonymous = false): VolumeRecord {
  return { Name, Driver: 'local', Mountpoint: '', CreatedAt: '', Labels: {}, Options: {}, anonymous };
}

function factsOf(o: { images?: Image[]; volumes?: VolumeRecord[] } = {}) {
  const events = new EventBus();
  const images = o.images ?? [];
  const volumes = o.volumes ?? [];
  const reads = { images: 0 };
  const facts = new NodeDescriber({
    encryption: { standing: { salts: [] }, watch: () => undefined },
    images: {
      list: () => {
        reads.images += 1;
        return images;
      },
    },
    volumes: { list: () => volumes },
    events,
    engineVersion: '1.2.3',
    labels: ['zone=eu', 'expression=a=b'],
    genericResources: [{ DiscreteResourceSpec: { Kind: 'SSD', Value: 3 } }],
  });
  return { facts, events, images, volumes, reads };
}

test('a machine says what it is and has', () => {
  const { facts } = factsOf({
    images: [image('2', { repoTags: ['web:1'], repoDigests: ['web@sha256:aa'] }), image('1')],
    volumes: [volume('data'), volume('f00', true), volume('cache')],
  });
  const said = facts.describe();
  assert.deepEqual(said.Engine.Labels, { zone: 'eu', expression: 'a=b' });
  assert.equal(said.Engine.EngineVersion, '1.2.3');
  assert.deepEqual(said.Resources.GenericResources, [{ DiscreteResourceSpec: { Kind: 'SSD', Value: 3 } }]);
  assert.ok(said.Resources.NanoCPUs >= 1_000_000_000 && said.Resources.MemoryBytes > 0);
  assert.equal(said.Platform.OS, 'linux');
  assert.deepEqual(said.images, ['web:1', image('1').id, 'web@sha256:aa', image('2').id]);
  assert.deepEqual(said.volumes, ['cache', 'data']);
});

test('nothing new is the same object, and is not looked up again', () => {
  const { facts, events, reads } = factsOf({ images: [image('1')] });
  const first = facts.describe();
  assert.equal(facts.describe(), first);
  assert.equal(reads.images, 1);
  events.publish('volume', 'mount', 'data');
  events.publish('container', 'start', 'x');
  assert.equal(reads.images, 1);
  events.publish('image', 'tag', 'same');
  assert.equal(facts.describe(), first, 'an event that changed nothing');
});

test('what changed is another object, and is announced', () => {
  const { facts, events, images } = factsOf();
  const first = facts.describe();
  const stop = new AbortController();
  let calls = 0;
  facts.watch(() => calls++, stop.signal);
  images.push(image('1', { repoTags: ['web:1'] }));
  events.publish('image', 'pull', 'web:1');
  assert.equal(calls, 1);
  assert.notEqual(facts.describe(), first);
  stop.abort();
  events.publish('image', 'delete', 'web:1');
  assert.equal(calls, 1);
});

test('a node with thousands of images names a thousand, those with names first', () => {
  const images = Array.from({ length: 2000 }, (_, index) => image('1', { repoTags: [`a:${index}`] }));
  const { images: named = [] } = factsOf({ images }).facts.describe();
  assert.equal(named.length, 1000);
  assert.ok(named.every((name) => name.startsWith('a:')));
});
