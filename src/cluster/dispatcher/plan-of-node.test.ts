import assert from 'node:assert/strict';
import { test } from 'node:test';
import { network, node, Scene, service, task } from '#cluster/controllers/scene.ts';
import type { Write } from '#cluster/state/tables.ts';
import { NetworkMembers } from './network-members.ts';
import { planOfNode } from './plan-of-node.ts';

/** A view, and who is on its networks. */
class Planning extends Scene {
  readonly #members = new NetworkMembers();

  constructor(...writes: (Write | Write[])[]) {
    super();
    this.affects(...writes);
  }

  /** The nodes whose plans may be others when this has happened. */
  affects(...writes: (Write | Write[])[]): string[] | 'all' {
    const affected = this.happens(...writes).map((change) => this.#members.observe(change));
    return affected.includes('all') ? 'all' : [...new Set(affected.flatMap((each) => [...each]))].sort();
  }

  /** The ports that a node is told of. */
  ports(nodeId: string): string[] {
    return planOfNode(this.view, nodeId, this.#members, ({ sealed }) => sealed).ports.map(
      ({ publishedPort, localOnly }) => `${publishedPort}${localOnly === true ? ' local' : ''}`,
    );
  }

  /** Who is on the networks that a node is told of, those that serve with their names. */
  told(nodeId: string): string[] {
    return planOfNode(this.view, nodeId, this.#members, ({ sealed }) => sealed).networks.flatMap(
      ({ id, endpoints }) =>
        endpoints.map(({ taskId, aliases, serving }) =>
          [id, taskId, ...(serving ? aliases : ['(lost)'])].join(' '),
        ),
    );
  }
}

const attachment = (ID: string, nodeId: string, address = '10.1.0.9/24'): Write => ({
  table: 'attachment',
  put: {
    ...{ ID, CreatedAt: '', UpdatedAt: '', nodeId, networkId: 'net', containerId: `of ${ID}` },
    ...{ names: [`name-of-${ID}`], address },
  },
});

test('an attached container is on its network from when it has an address, and brings the network to its node', () => {
  const planning = new Planning(network('net', { Attachable: true }), node('a'), node('b'), node('c'));
  assert.deepEqual(planning.affects(attachment('one', 'a', '')), []);
  assert.deepEqual(planning.told('a'), []);
  assert.deepEqual(planning.affects(attachment('one', 'a')), ['a']);
  assert.deepEqual(planning.affects(attachment('two', 'b', '10.1.0.8/24')), ['a', 'b']);
  assert.deepEqual(planning.told('a'), ['net one name-of-one', 'net two name-of-two']);
  assert.deepEqual(planning.told('c'), []);
  assert.deepEqual(planning.affects({ table: 'attachment', delete: 'one' }), ['a', 'b']);
  assert.deepEqual(planning.told('a'), []);
  assert.deepEqual(planning.told('b'), ['net two name-of-two']);
});

test('a node keeps the network for its containers when its tasks have ended', () => {
  const held = [{ networkId: 'net', address: '10.1.0.2/24', aliases: [] }];
  const planning = new Planning(network('net'), node('a'), service(), task('t1', { networks: held }));
  planning.affects(attachment('one', 'a'));
  planning.affects({ table: 'task', delete: 't1' });
  assert.deepEqual(planning.told('a'), ['net one name-of-one']);
});

test('no name leads to containers of a lost node, and everybody is told at once', () => {
  const planning = new Planning(network('net'), node('a'), node('b'), node('idle'));
  planning.affects(attachment('one', 'a'), attachment('two', 'b', '10.1.0.8/24'));
  assert.deepEqual(planning.affects(node('idle', { state: 'down' })), []);
  assert.deepEqual(planning.affects(node('a', { state: 'down' })), ['a', 'b']);
  assert.deepEqual(planning.told('b'), ['net one (lost)', 'net two name-of-two']);
  assert.deepEqual(planning.affects(node('a')), ['a', 'b']);
  assert.deepEqual(planning.told('b'), ['net one name-of-one', 'net two name-of-two']);
});

test('a service that asks for its clients’ own address is answered for by its own nodes, as soon as it asks', () => {
  const Ports = [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' as const }];
  const web = (Labels: Record<string, string>): Write[] => service({ Endpoint: { Ports }, spec: { Labels } });
  const held = [{ networkId: 'net', address: '10.1.0.2/24', aliases: [] }];
  const planning = new Planning(
    network('net', { Ingress: true }),
    node('a'),
    web({}),
    task('t1', { networks: held }),
  );
  assert.deepEqual(planning.ports('a'), ['8080']);
  assert.equal(planning.affects(web({ 'drover.ingress': 'local' })), 'all');
  assert.deepEqual(planning.ports('a'), ['8080 local']);
});
