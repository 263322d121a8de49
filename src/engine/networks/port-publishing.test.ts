import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type WantedPort, wantedPorts } from './port-publishing.ts';

function wanted(HostIp: string, HostPort: string, key = '80/tcp'): WantedPort[] {
  const PortBindings = { [key]: [{ HostIp, HostPort }] };
  return wantedPorts({ ExposedPorts: {} }, { PortBindings, PublishAllPorts: false }, '0.0.0.0');
}

test('bindings: an address, a port, a range, any free one', () => {
  const common = { key: '80/tcp', containerPort: 80, protocol: 'tcp' };
  assert.deepEqual(wanted('', '8080'), [{ ...common, hostIp: '0.0.0.0', first: 8080, last: 8080 }]);
  assert.deepEqual(wanted('127.0.0.1', '8080-8090'), [
    { ...common, hostIp: '127.0.0.1', first: 8080, last: 8090 },
  ]);
  assert.deepEqual(wanted('', ''), [{ ...common, hostIp: '0.0.0.0', first: 0, last: 0 }]);
  assert.equal(wanted('', '53', '53/udp')[0]?.protocol, 'udp');
});

test('all exposed ports, but those that have a place of their own', () => {
  const ports = wantedPorts(
    { ExposedPorts: { '80/tcp': {}, '53/udp': {} } },
    { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] }, PublishAllPorts: true },
    '10.0.0.1',
  );
  assert.deepEqual(
    ports.map(({ key, hostIp, first }) => [key, hostIp, first]),
    [
      ['80/tcp', '10.0.0.1', 8080],
      ['53/udp', '10.0.0.1', 0],
    ],
  );
});

test('what is no port is refused by name', () => {
  for (const port of ['x', '70000', '0-10', '90-80', '-1', '80-'])
    assert.throws(() => wanted('', port), /invalid port specification/, port);
  for (const key of ['x/tcp', '0/tcp', '70000/tcp', '/tcp'])
    assert.throws(() => wanted('', '1', key), /invalid port/);
  assert.throws(() => wanted('', '1', '80/sctp'), /invalid protocol.*publish tcp or udp/);
});

test('the IPv6 wildcard beside the IPv4 one is how clients ask for both; other IPv6 addresses are refused', () => {
  const both = [
    { HostIp: '0.0.0.0', HostPort: '80' },
    { HostIp: '::', HostPort: '80' },
  ];
  const PortBindings = { '80/tcp': both };
  assert.equal(
    wantedPorts({ ExposedPorts: {} }, { PortBindings, PublishAllPorts: false }, '0.0.0.0').length,
    1,
  );
  assert.throws(() => wanted('::1', '80'), { kind: 'not-implemented' });
  assert.throws(() => wanted('::', '80'), { kind: 'not-implemented' });
});
