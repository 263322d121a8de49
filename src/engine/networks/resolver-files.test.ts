import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerRecord } from '#model/container.ts';
import { gatewayResolvConf, hostResolvConf, hostsFile } from './resolver-files.ts';

function container(
  o: Partial<ContainerRecord['hostConfig']> & { Domainname?: string } = {},
): ContainerRecord {
  const record = {
    config: { Hostname: 'web', Domainname: o.Domainname ?? '' },
    hostConfig: { Dns: [], DnsSearch: [], DnsOptions: [], ExtraHosts: [], ...o },
  };
  // Only what these files are made of.
  return record as unknown as ContainerRecord;
}

const HOST =
  '# made by somebody\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch example.org\noptions edns0\n';

test('a container on the default bridge has the host’s servers that it can reach', () => {
  assert.equal(hostResolvConf(container(), HOST), 'nameserver 10.0.0.1\nsearch example.org\noptions edns0\n');
  assert.equal(
    hostResolvConf(container({ Dns: ['9.9.9.9'], DnsSearch: ['a', 'b'], DnsOptions: ['ndots:2'] }), HOST),
    'nameserver 9.9.9.9\nsearch a b\noptions ndots:2\n',
  );
  // A dot takes the host's search list away.
  assert.equal(hostResolvConf(container({ DnsSearch: ['.'] }), HOST), 'nameserver 10.0.0.1\noptions edns0\n');
  assert.equal(hostResolvConf(container(), 'nameserver 127.0.0.1\n'), 'nameserver 127.0.0.1\n');
});

test('a container on a network of its own asks the gateway', () => {
  assert.equal(
    gatewayResolvConf(container({ Dns: ['9.9.9.9'] }), '10.1.0.1', HOST),
    'nameserver 10.1.0.1\nsearch example.org\noptions ndots:0\n',
  );
  assert.match(
    gatewayResolvConf(container({ DnsOptions: ['ndots:2', 'rotate'] }), '10.1.0.1', HOST),
    /^options ndots:2 rotate$/m,
  );
});

test('hosts: itself, links, and what was asked for', () => {
  const text = hostsFile(
    container({ Domainname: 'example.org', ExtraHosts: ['db:10.9.9.9', 'up:host-gateway'] }),
    {
      addresses: ['10.1.0.2', '10.2.0.2'],
      hostGateway: '10.1.0.1',
      links: [{ address: '10.1.0.7', names: ['store', 'alias'] }],
    },
  );
  const lines = text.split('\n');
  for (const line of [
    '127.0.0.1\tlocalhost',
    '10.9.9.9\tdb',
    '10.1.0.1\tup',
    '10.1.0.7\tstore alias',
    '10.1.0.2\tweb.example.org web',
    '10.2.0.2\tweb.example.org web',
  ])
    assert.ok(lines.includes(line), line);
});
