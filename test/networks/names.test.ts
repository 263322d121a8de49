import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OverlayCluster } from './overlay-cluster.ts';
import { endpoint, network, planOf, service } from './plans.ts';

const web = endpoint({ node: 2, address: '10.77.0.11', name: 'web.1' });
const db = endpoint({ node: 2, address: '10.79.0.11', service: 'db', name: 'db.1' });
const FRONT = network({ endpoints: [web], services: [service('web', '10.77.0.2')] });
/** Nothing of it leads out. */
const BACK = network({
  id: 'backbackbackbackbackback1',
  name: 'back',
  vni: 4098,
  subnet: '10.79.0.0/24',
  internal: true,
  nodeAddress: '10.79.0.20N/24',
  endpoints: [db, { ...db, address: '10.79.0.12', aliases: ['db.2'], serving: false }],
  services: [service('db', '')],
});

test('a container is answered the names of its networks and of no other', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tna', nodes: 1 });
  const one = cluster.node(1);
  await one.ask({ call: 'apply', plan: planOf(1, { networks: [FRONT, BACK] }) });
  const join = async (
    id: string,
    networks: Record<string, string>,
  ): Promise<(name: string, type?: string) => string[]> => {
    await one.ask({ call: 'join', id, networks });
    const resolvConf = String(await one.ask({ call: 'resolvConf', id }));
    const server = /nameserver (\S+)/.exec(resolvConf)?.[1] ?? '';
    return (name, type = 'a') => cluster.resolve(one.containerPath(id), server, name, type);
  };
  const front = await join('front', { net: '10.77.0.21' });
  const back = await join('back', { back: '10.79.0.21' });
  const both = await join('both', { net: '10.77.0.22', back: '10.79.0.22' });

  assert.deepEqual([front('web'), back('web'), both('web')], [['10.77.0.2'], [], ['10.77.0.2']]);
  assert.deepEqual([front('db'), back('db'), both('db')], [[], ['10.79.0.11'], ['10.79.0.11']]);
  assert.deepEqual(both('db.2'), []);
  assert.deepEqual(front('11.0.77.10.in-addr.arpa', 'ptr'), ['web.1.net']);
  assert.deepEqual(front('11.0.79.10.in-addr.arpa', 'ptr'), []);
  // The gateway bridge has no names of its own, and the containers on it do not see each other.
  assert.deepEqual(front('both'), []);

  // A task that begins to serve is named from the same moment on.
  const serving = BACK.endpoints.map((each) => ({ ...each, serving: true }));
  await one.ask({ call: 'apply', plan: planOf(1, { networks: [FRONT, { ...BACK, endpoints: serving }] }) });
  assert.deepEqual(back('db'), ['10.79.0.11', '10.79.0.12']);

  // An internal network has no way out; a container with another network has that one's.
  const route = (id: string): string => cluster.ok(one.containerPath(id), 'ip', 'route', 'show', 'default');
  assert.equal(route('back'), '');
  assert.match(route('both'), /^default via .* dev eth2/);
  assert.deepEqual(Object.keys((await one.ask({ call: 'shown', id: 'both' })) ?? {}), ['net', 'back']);
});
