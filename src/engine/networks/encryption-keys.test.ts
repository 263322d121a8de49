import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directionKey } from './encryption-keys.ts';

const FACTS = {
  clusterKey: Buffer.alloc(32, 1).toString('base64'),
  salt: '00112233445566778899aabbccddeeff',
  sender: 'one',
  receiver: 'two',
};

test('both ends make the same key of the same facts, now and after an upgrade', () => {
  const { spi, key } = directionKey(FACTS);
  assert.equal(key.length, 36);
  // The last one that was computed: another way to compute it would part nodes of two versions.
  assert.equal(spi, 3415848683);
  assert.equal(
    key.toString('hex'),
    'e35972e0b6cc150ad61116eaad968bfc5cf6a02e6fcd3d8953634b7709070f7f1fab4ad0',
  );
});

test('whatever differs makes another key and SPI: no sequence number is used twice with one', () => {
  const others = [
    { ...FACTS, sender: 'two', receiver: 'one' },
    { ...FACTS, salt: '10112233445566778899aabbccddeeff' },
    { ...FACTS, receiver: 'three' },
    { ...FACTS, sender: 'onet', receiver: 'wo' },
    { ...FACTS, clusterKey: Buffer.alloc(32, 2).toString('base64') },
  ];
  const all = [FACTS, ...others].map(directionKey);
  assert.equal(new Set(all.map(({ key }) => key.toString('hex'))).size, all.length);
  assert.equal(new Set(all.map(({ spi }) => spi)).size, all.length);
});
