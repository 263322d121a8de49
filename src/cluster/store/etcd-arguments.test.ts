import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EtcdMemberOptions, etcdArguments } from './etcd-arguments.ts';

const options: EtcdMemberOptions = {
  ...{ directory: '/data/etcd', name: 'n1' },
  ...{ clientUrl: 'https://10.0.0.1:2379', peerUrl: 'https://10.0.0.1:2380' },
};
const birth = { state: 'existing', cluster: 'n1=https://10.0.0.1:2380', token: 't' } as const;

test('a member with certificates asks everyone for theirs', () => {
  const tls = { ca: '/ca', cert: '/cert', key: '/key' };
  const args = etcdArguments({ ...options, tls }, birth, false);
  for (const flag of ['--client-cert-auth', '--peer-client-cert-auth']) assert.ok(args.includes(flag), flag);
  assert.equal(args[args.indexOf('--peer-trusted-ca-file') + 1], '/ca');
  assert.equal(args[args.indexOf('--data-dir') + 1], '/data/etcd/data');
  assert.ok(!args.includes('--force-new-cluster'));
});

test('only a recovery forces a new cluster', () => {
  assert.ok(etcdArguments(options, birth, true).includes('--force-new-cluster'));
});
