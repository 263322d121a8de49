import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Write } from '#cluster/state/tables.ts';
import type { PortConfig } from '#model/service.ts';
import { Allocator } from './allocator.ts';
import { network, node, Scene, said, service, task } from './scene.ts';

/** A scene that an allocator follows. */
class Allocation extends Scene {
  readonly #allocator = new Allocator();

  constructor(...writes: (Write | Write[])[]) {
    super();
    this.follow(...writes);
  }

  follow(...writes: (Write | Write[])[]): void {
    for (const change of this.happens(...writes)) [...this.#allocator.keysOf(change, this.view)];
  }

  allocate(limit?: number): string[] {
    const decision = this.#allocator.reconcile(this.view, 'all', this.context(limit));
    if (decision.writes.length > 0) this.follow([...decision.writes]);
    return said(decision);
  }

  addressesOf(taskId: string): string[] {
    return this.task(taskId).networks.map(({ address }) => address);
  }

  portsOf(serviceId: string): (number | undefined)[] {
    return (this.service(serviceId).Endpoint.Ports ?? []).map(({ PublishedPort }) => PublishedPort);
  }
}

const ON_NET = { template: { Networks: [{ Target: 'net' }] } };
const INGRESS = network('ingress', { Ingress: true, subnet: '10.9.0.0/24' });

function publishing(id: string, ...Ports: PortConfig[]): Write[] {
  return service({ ID: id, spec: { EndpointSpec: { Ports } } });
}

test('a service gets its address first, then its tasks theirs, no two the same', () => {
  const allocation = new Allocation(network('net'), service(ON_NET), task('t1', { is: 'new' }));
  assert.deepEqual(allocation.allocate(), ['web is changed']);
  allocation.follow(task('t2', { is: 'new', Slot: 2 }));
  assert.deepEqual(allocation.allocate(), ['t1 is to running', 't2 is to running']);
  assert.equal(allocation.task('t1').Status.State, 'pending');
  const [vip] = allocation.service().Endpoint.VirtualIPs ?? [];
  const all = [vip?.Addr, ...allocation.addressesOf('t1'), ...allocation.addressesOf('t2')];
  assert.equal(new Set(all).size, 3);
  assert.deepEqual(allocation.allocate(), []);
});

test('gateways and other reserved addresses are nobody’s', () => {
  const IPAM = {
    Driver: 'default',
    Options: null,
    Config: [{ Subnet: '10.1.0.0/30', Gateway: '10.1.0.1' }],
  };
  const allocation = new Allocation(network('net', { IPAM }), service(ON_NET));
  allocation.allocate();
  assert.equal(allocation.service().Endpoint.VirtualIPs?.[0]?.Addr, '10.1.0.2/30');
});

test('a task that finds no address says what it waits for, once, and gets one that is given back', () => {
  const tasks = [task('t1', { is: 'new' }), task('t2', { is: 'new', Slot: 2 })];
  const small = network('net', { subnet: '10.1.0.0/30' });
  const allocation = new Allocation(small, service(ON_NET), ...tasks);
  allocation.allocate();
  const reason =
    't2 waits: network net has no free address in 10.1.0.0/30: remove tasks, or make a network with a larger subnet';
  assert.deepEqual(allocation.allocate(), ['t1 is to running', reason]);
  assert.deepEqual(allocation.allocate(), []);
  allocation.follow({ table: 'task', delete: 't1' });
  allocation.allocate();
  assert.equal(allocation.task('t2').networks.length, 1);
  assert.equal(allocation.task('t2').waiting, undefined);
});

test('a service that finds none tells its tasks', () => {
  const other = service({ ...ON_NET, ID: 'db' });
  const full = network('net', { subnet: '10.1.0.0/30' });
  const allocation = new Allocation(full, other, task('d1', { ServiceID: 'db', is: 'new' }));
  allocation.allocate();
  allocation.allocate();
  allocation.follow(service(ON_NET), task('t1', { is: 'new' }));
  assert.match(allocation.allocate().join(), /^t1 waits: network net has no free address/);
});

test('a network that is not there is said so', () => {
  const allocation = new Allocation(service(ON_NET), task('t1', { is: 'new' }));
  assert.match(allocation.allocate().join(), /^t1 waits: network net is not there/);
});

test('a task that is not wanted any more gets nothing, and one that never came to a node keeps nothing', () => {
  const small = network('net', { subnet: '10.1.0.0/30' });
  const allocation = new Allocation(
    small,
    service(ON_NET),
    task('t1', { is: 'new', DesiredState: 'shutdown' }),
  );
  allocation.allocate();
  assert.deepEqual(allocation.allocate(), []);
  allocation.follow(task('t2', { is: 'new', Slot: 2 }));
  allocation.allocate();
  allocation.follow({ table: 'task', put: { ...allocation.task('t2'), DesiredState: 'remove' } });
  allocation.follow(task('t3', { is: 'new', Slot: 3 }));
  allocation.allocate();
  assert.equal(allocation.task('t3').networks.length, 1);
});

test('networks of the node itself are not the cluster’s to give addresses on', () => {
  for (const Target of ['host', 'bridge', 'none']) {
    const template = { Networks: [{ Target }] };
    const allocation = new Allocation(service({ template }), task('t1', { is: 'new' }));
    allocation.allocate();
    assert.deepEqual(allocation.task('t1').networks, []);
    assert.equal(allocation.task('t1').Status.State, 'pending');
  }
});

test('with DNS round robin a service has no address of its own', () => {
  const spec = { EndpointSpec: { Mode: 'dnsrr' as const } };
  const allocation = new Allocation(network('net'), service({ ...ON_NET, spec }));
  allocation.allocate();
  assert.equal(allocation.service().Endpoint.VirtualIPs, undefined);
  assert.deepEqual(allocation.allocate(), []);
});

test('published ports put a service and its tasks on the routing mesh’s network, where nodes answer', () => {
  const allocation = new Allocation(INGRESS, node('a'), publishing('web', { TargetPort: 80 }));
  assert.deepEqual(allocation.allocate(), ['web is changed', 'node a']);
  assert.deepEqual(allocation.portsOf('web'), [30_000]);
  allocation.follow(task('t1', { is: 'new' }));
  allocation.allocate();
  assert.deepEqual(
    allocation.task('t1').networks.map(({ networkId }) => networkId),
    ['ingress'],
  );
  assert.match(allocation.view.get('node', 'a')?.networkAddresses?.['ingress'] ?? '', /^10\.9\.0\.\d+\/24$/);
});

test('nodes answer on internal networks too, also those that come later', () => {
  const allocation = new Allocation(network('net', { Internal: true }));
  allocation.follow(node('a'));
  assert.deepEqual(allocation.allocate(), ['node a']);
  assert.deepEqual(allocation.allocate(), []);
});

const PORTS: [string, PortConfig[], (number | undefined)[]][] = [
  ['one that is asked for is given', [{ TargetPort: 80, PublishedPort: 8080 }], [8080]],
  [
    'one that is not asked for by number is not one that is',
    [{ TargetPort: 80 }, { TargetPort: 81, PublishedPort: 30_000 }],
    [30_001, 30_000],
  ],
  ['two to the same target', [{ TargetPort: 80, PublishedPort: 8080 }, { TargetPort: 80 }], [8080, 30_000]],
  [
    'protocols have numbers of their own',
    [{ TargetPort: 53 }, { TargetPort: 53, Protocol: 'udp' }],
    [30_000, 30_000],
  ],
  ['host mode is the nodes’ affair', [{ TargetPort: 80, PublishMode: 'host' }], [undefined]],
];

for (const [what, ports, expected] of PORTS) {
  test(`published ports: ${what}, and stays so when the service changes`, () => {
    const allocation = new Allocation(INGRESS, publishing('web', ...ports));
    allocation.allocate();
    assert.deepEqual(allocation.portsOf('web'), expected);
    const changed = { ...allocation.service(), revision: 2 };
    const [, revision] = publishing('web', ...ports);
    const Spec = { ...changed.Spec, EndpointSpec: { Mode: 'vip' as const, Ports: ports } };
    allocation.follow({ table: 'service', put: { ...changed, Spec } });
    if (revision !== undefined) allocation.follow(revision);
    allocation.allocate();
    assert.deepEqual(allocation.portsOf('web'), expected);
    assert.deepEqual(allocation.allocate(), []);
  });
}

test('a port has one owner until the service that has it is gone, and who waits is told for whom', () => {
  const allocation = new Allocation(INGRESS, publishing('web', { TargetPort: 80, PublishedPort: 80 }));
  allocation.allocate();
  allocation.follow({ table: 'service', put: { ...allocation.service(), removing: true } });
  allocation.follow(publishing('next', { TargetPort: 80, PublishedPort: 80 }));
  allocation.follow(task('n1', { ServiceID: 'next', is: 'new' }));
  assert.deepEqual(allocation.allocate(), [
    'n1 waits: port 80/tcp is published by web: publish another one, or remove that service',
  ]);
  allocation.follow({ table: 'service', delete: 'web' });
  assert.deepEqual(allocation.allocate(), ['next is changed']);
});

test('what there is no room for in one round is given in the next', () => {
  const tasks = [1, 2, 3].map((Slot) => task(`t${Slot}`, { is: 'new', Slot }));
  const allocation = new Allocation(network('net'), service(ON_NET), ...tasks);
  allocation.allocate();
  assert.equal(allocation.allocate(2).length, 2);
  assert.equal(allocation.allocate(2).length, 1);
});

test('an allocator that comes late knows what is given already', () => {
  const first = new Allocation(network('net'), service(ON_NET), task('t1', { is: 'new' }));
  first.allocate();
  first.allocate();
  const t1 = first.task('t1');
  const second = new Allocation(
    ...[network('net'), { table: 'service' as const, put: first.service() }, service(ON_NET).slice(1)],
    ...[{ table: 'task' as const, put: t1 }, task('t2', { is: 'new', Slot: 2 })],
  );
  second.allocate();
  const all = [first.service().Endpoint.VirtualIPs?.[0]?.Addr, t1.networks[0]?.address];
  assert.ok(!all.includes(second.addressesOf('t2')[0]));
});

test('an attached container gets an address that is no task’s, or the one that it asks for, until it is gone', () => {
  const attachment = (ID: string, o: { requested?: string; address?: string } = {}): Write => ({
    table: 'attachment',
    put: {
      ...{ ID, CreatedAt: '', UpdatedAt: '', nodeId: 'a', networkId: 'net', containerId: ID, names: [ID] },
      ...{ address: '', ...o },
    },
  });
  const addressOf = (id: string): string | undefined => allocation.view.get('attachment', id)?.address;
  const held = [{ networkId: 'net', address: '10.1.0.3/29', aliases: [] }];
  const allocation = new Allocation(
    network('net', { subnet: '10.1.0.0/29' }),
    [task('t1', { networks: held }), attachment('held', { address: '10.1.0.2/29' })],
    [
      attachment('any'),
      attachment('asks', { requested: '10.1.0.5' }),
      attachment('late', { requested: '10.1.0.3' }),
    ],
  );
  allocation.allocate();
  assert.deepEqual(['any', 'asks', 'late'].map(addressOf), ['10.1.0.1/29', '10.1.0.5/29', '']);
  const refusal = allocation.view.get('attachment', 'late')?.refusal;
  assert.equal(refusal, "Address already in use: 10.1.0.3 is somebody else's on this network");
  assert.deepEqual(allocation.allocate(), []);
  allocation.follow(attachment('more'), attachment('full'), { table: 'task', delete: 't1' });
  allocation.allocate();
  assert.deepEqual(
    [addressOf('late'), allocation.view.get('attachment', 'late')?.refusal],
    ['10.1.0.3/29', undefined],
  );
  assert.deepEqual([addressOf('more'), addressOf('full')].sort(), ['10.1.0.4/29', '10.1.0.6/29']);
  allocation.follow(attachment('none'));
  allocation.allocate();
  assert.match(allocation.view.get('attachment', 'none')?.refusal ?? '', /^network net has no free address/);
  allocation.follow({ table: 'attachment', delete: 'held' });
  allocation.allocate();
  assert.equal(addressOf('none'), '10.1.0.2/29');
});
