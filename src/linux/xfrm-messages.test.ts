import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  newPolicy,
  newState,
  parseKey,
  parsePolicy,
  parseState,
  policyKey,
  stateKey,
  type XfrmPolicy,
} from './xfrm-messages.ts';

const STATE = { source: '192.0.2.1', destination: '192.0.2.2', spi: 0xc0ffee01, reqid: 7, port: 4790 };
const POLICY: XfrmPolicy = {
  ...{ direction: 'out', action: 'allow', source: '192.0.2.1', destination: '192.0.2.2' },
  ...{ port: 4790, priority: 1000, reqid: 7, spi: 0xc0ffee01 },
};

test('a state is read as it was written, with its key', () => {
  const key = Buffer.alloc(36, 5);
  const message = newState(STATE, key);
  assert.deepEqual(parseState(message), { ...STATE, sent: 0 });
  assert.deepEqual(parseKey(message), { name: 'rfc4106(gcm(aes))', key });
});

test('a message of a state has the fields where the kernel looks for them', () => {
  const message = newState(STATE, Buffer.alloc(36));
  const at = (offset: number, bytes: number): string => message.toString('hex', offset, offset + bytes);
  // struct xfrm_usersa_info: the selector's UDP port, with its mask, and protocol
  assert.deepEqual([at(32, 4), at(44, 1)], ['12b6ffff', '11']);
  // xfrm_id: to whom, SPI, ESP
  assert.deepEqual([at(56, 4), at(72, 4), at(76, 1)], ['c0000202', 'c0ffee01', '32']);
  // from whom; never over by bytes or packets
  assert.deepEqual([at(80, 4), at(96, 32)], ['c0000201', 'ff'.repeat(32)]);
  // reqid, AF_INET, transport mode, 64-bit sequence numbers
  assert.deepEqual([at(208, 4), at(212, 2), at(214, 1), at(216, 1)], ['07000000', '0200', '00', '80']);
  // attributes: XFRMA_ALG_AEAD with 288 bits of key and 128 of tag, XFRMA_REPLAY_ESN_VAL with a window of 512
  assert.deepEqual([at(224, 4), at(228 + 64, 8)], ['70001200', '2001000080000000']);
  assert.deepEqual([at(224 + 112, 8), at(224 + 112 + 24, 4)], ['5c00170010000000', '00020000']);
  assert.equal(message.length, 224 + 112 + 92);
});

test('what was sent is counted in 64 bits', () => {
  const message = newState(STATE, Buffer.alloc(36));
  const replay = 224 + 112 + 4;
  message.writeUInt32LE(5, replay + 4);
  message.writeUInt32LE(2, replay + 12);
  assert.equal(parseState(message)?.sent, 2 * 2 ** 32 + 5);
});

test('policies are read as they were written, and blocks ask for no association', () => {
  assert.deepEqual(parsePolicy(newPolicy(POLICY)), POLICY);
  const block: XfrmPolicy = {
    ...{ direction: 'in', action: 'block', source: '', destination: '', port: 4790 },
    ...{ priority: 0x7fff_ffff, reqid: 0, spi: 0 },
  };
  assert.deepEqual(parsePolicy(newPolicy(block)), block);
  assert.equal(newPolicy(block).length, 168);
});

test('what others made is not taken for ours', () => {
  const tunnel = newState(STATE, Buffer.alloc(36));
  tunnel[214] = 1;
  assert.equal(parseState(tunnel), undefined);
  const tcp = newPolicy(POLICY);
  tcp[44] = 6;
  assert.equal(parsePolicy(tcp), undefined);
  assert.equal(parseState(Buffer.alloc(10)), undefined);
  assert.equal(parsePolicy(Buffer.alloc(10)), undefined);
});

test('states and policies are found by what makes them the only ones', () => {
  assert.equal(stateKey(STATE).toString('hex'), `c0000202${'00'.repeat(12)}c0ffee01${'0200'}3200`);
  assert.equal(policyKey(POLICY).length, 64);
  assert.equal(policyKey(POLICY)[60], 1);
});
