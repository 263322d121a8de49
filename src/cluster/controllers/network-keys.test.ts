import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetworkKeys, primaryKey, ROTATION_MS } from './network-keys.ts';
import { network, Scene, swarm } from './scene.ts';

const SWARM = swarm();
const keys = (): NetworkKeys => new NetworkKeys({ make: (id) => `sealed ${id}` });
const keysIn = (scene: Scene): string[] =>
  (scene.view.get('swarm', 'swarm')?.networkKeys ?? []).map(({ id }) => id);
const primaryIn = (scene: Scene): string | undefined =>
  primaryKey(scene.view.get('swarm', 'swarm')?.networkKeys ?? [])?.id;

test('there are keys while a network is encrypted, and none else', () => {
  const scene = new Scene(SWARM, network('open'));
  const controller = keys();
  assert.deepEqual(scene.decides(controller, 'swarm').writes, []);
  const [change] = scene.happens(network('secret', { EncryptedOption: true }));
  assert.ok(change !== undefined);
  assert.deepEqual([...controller.keysOf(change, scene.view)], ['swarm']);
  scene.decides(controller, 'swarm');
  assert.deepEqual([keysIn(scene), primaryIn(scene)], [['new1', 'new2'], 'new1']);
  assert.equal(scene.view.get('swarm', 'swarm')?.networkKeys?.[0]?.sealed, 'sealed new1');
  assert.deepEqual(scene.decides(controller, 'swarm').writes, []);
  scene.happens({ table: 'network', delete: 'secret' });
  scene.decides(controller, 'swarm');
  assert.equal(scene.view.get('swarm', 'swarm')?.networkKeys, undefined);
});

test('a key is received by for a rotation before it is sent by, and for one after that', () => {
  const scene = new Scene(SWARM, network('secret', { EncryptedOption: true }));
  const controller = keys();
  const first = scene.decides(controller, 'swarm');
  assert.equal(first.againAtMs, scene.nowMs + ROTATION_MS);
  scene.nowMs += ROTATION_MS - 1;
  assert.deepEqual(scene.decides(controller, 'swarm').writes, []);
  const seen: [string[], string | undefined][] = [];
  for (let i = 0; i < 3; i++) {
    scene.nowMs += ROTATION_MS;
    scene.decides(controller, 'swarm');
    seen.push([keysIn(scene), primaryIn(scene)]);
  }
  assert.deepEqual(seen, [
    [['new1', 'new2', 'new3'], 'new2'],
    [['new2', 'new3', 'new4'], 'new3'],
    [['new3', 'new4', 'new5'], 'new4'],
  ]);
});
