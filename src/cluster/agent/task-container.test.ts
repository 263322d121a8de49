import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerSpec } from '#model/task-spec.ts';
import { assignedTask } from './task-builder.ts';
import { containerRequestOf } from './task-container.ts';

const LABELS = {
  'com.docker.swarm.node.id': 'node000000000000000000000',
  'com.docker.swarm.service.id': 'service000000000000000000',
  'com.docker.swarm.service.name': 'web',
  'com.docker.swarm.task': '',
  'com.docker.swarm.task.id': 'task00000000000000000000a',
  'com.docker.swarm.task.name': 'web.1.task00000000000000000000a',
};

test('a task that asks for nothing is a container on the default bridge that nobody but the cluster restarts', () => {
  assert.deepEqual(containerRequestOf(assignedTask()), {
    name: 'web.1.task00000000000000000000a',
    config: {
      Image: 'busybox',
      Labels: LABELS,
      Env: [],
      Tty: false,
      OpenStdin: false,
      StopTimeout: 10,
    },
    hostConfig: {
      NetworkMode: 'bridge',
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      Mounts: [],
      PortBindings: {},
      ReadonlyRootfs: false,
      Dns: [],
      DnsSearch: [],
      DnsOptions: [],
      NanoCpus: 0,
      Memory: 0,
      PidsLimit: 0,
      MemoryReservation: 0,
      LogConfig: { Type: '', Config: {} },
    },
    endpoints: {},
  });
});

test('all that a task can ask for arrives in its container', () => {
  const task = assignedTask({
    serviceLabels: { 'com.example.zone': 'eu', tier: 'front' },
    networks: [
      { networkId: 'net1', address: '10.0.1.7/24', aliases: ['web'] },
      { networkId: 'net2', address: '10.0.2.9/24', aliases: [] },
    ],
    hostPorts: [
      { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' },
      { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8081, PublishMode: 'host' },
      { Protocol: 'udp', TargetPort: 53, PublishMode: 'host' },
    ],
    genericResources: [
      { NamedResourceSpec: { Kind: 'gpu', Value: 'UUID1' } },
      { NamedResourceSpec: { Kind: 'gpu', Value: 'UUID2' } },
      { DiscreteResourceSpec: { Kind: 'ssd', Value: 3 } },
    ],
    container: {
      Image: 'busybox:1.36',
      Labels: { mine: 'yes', 'com.docker.swarm.task.id': 'forged' },
      Command: ['server', '--fast'],
      Args: ['-p', '80'],
      Hostname: '{{.Service.Name}}-{{.Task.Slot}}',
      Env: ['ZONE={{index .Service.Labels "com.example.zone"}}', 'TIER={{.Service.Labels.tier}}'],
      Dir: '/srv',
      User: '1000:1000',
      Groups: ['audio'],
      Privileges: {
        Seccomp: { Mode: 'custom', Profile: Buffer.from('{"defaultAction":"x"}').toString('base64') },
        AppArmor: { Mode: 'disabled' },
        SELinuxContext: { Type: 'svirt_t' },
        NoNewPrivileges: true,
      },
      TTY: true,
      OpenStdin: true,
      ReadOnly: true,
      Mounts: [
        { Type: 'bind', Source: '/srv/{{.Node.Hostname}}', Target: '/host', ReadOnly: true },
        {
          Type: 'volume',
          Source: 'data-{{.Task.Slot}}',
          Target: '/data',
          VolumeOptions: {
            NoCopy: true,
            Labels: { of: '{{.Service.ID}}' },
            DriverConfig: { Name: 'local', Options: { type: 'tmpfs' } },
          },
        },
        { Type: 'tmpfs', Target: '/scratch', TmpfsOptions: { SizeBytes: 1024, Mode: 0o700 } },
      ],
      StopSignal: 'SIGINT',
      StopGracePeriod: 1_500_000_000,
      Healthcheck: { Test: ['CMD', 'true'], Interval: 1_000_000_000 },
      Hosts: ['10.1.1.1 db db.example'],
      DNSConfig: { Nameservers: ['10.1.1.2'], Search: ['example'], Options: ['ndots:1'] },
      OomScoreAdj: 100,
      Init: true,
      Sysctls: { 'net.core.somaxconn': '1024' },
      CapabilityAdd: ['CAP_NET_ADMIN'],
      CapabilityDrop: ['CAP_MKNOD'],
      Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
    },
    spec: {
      Resources: {
        Limits: { NanoCPUs: 500_000_000, MemoryBytes: 64_000_000, Pids: 50 },
        Reservations: { NanoCPUs: 250_000_000, MemoryBytes: 32_000_000 },
      },
      RestartPolicy: { Condition: 'any' },
      LogDriver: { Name: 'json-file', Options: { 'max-size': '1m' } },
    },
  });
  assert.deepEqual(containerRequestOf(task), {
    name: 'web.1.task00000000000000000000a',
    config: {
      Image: 'busybox:1.36',
      Labels: { mine: 'yes', ...LABELS },
      Env: ['ZONE=eu', 'TIER=front', 'DOCKER_RESOURCE_GPU=UUID1,UUID2', 'DOCKER_RESOURCE_SSD=3'],
      Entrypoint: ['server', '--fast'],
      Cmd: ['-p', '80'],
      Hostname: 'web-1',
      WorkingDir: '/srv',
      User: '1000:1000',
      Tty: true,
      OpenStdin: true,
      Healthcheck: { Test: ['CMD', 'true'], Interval: 1_000_000_000 },
      StopSignal: 'SIGINT',
      StopTimeout: 2,
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
    },
    hostConfig: {
      NetworkMode: 'net1',
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      Mounts: [
        { Type: 'bind', Source: '/srv/host-a', Target: '/host', ReadOnly: true },
        {
          Type: 'volume',
          Source: 'data-1',
          Target: '/data',
          VolumeOptions: {
            NoCopy: true,
            Labels: { of: 'service000000000000000000' },
            DriverConfig: { Name: 'local', Options: { type: 'tmpfs' } },
          },
        },
        { Type: 'tmpfs', Source: '', Target: '/scratch', TmpfsOptions: { SizeBytes: 1024, Mode: 0o700 } },
      ],
      PortBindings: {
        '80/tcp': [
          { HostIp: '', HostPort: '8080' },
          { HostIp: '', HostPort: '8081' },
        ],
        '53/udp': [{ HostIp: '', HostPort: '' }],
      },
      ReadonlyRootfs: true,
      GroupAdd: ['audio'],
      CapAdd: ['CAP_NET_ADMIN'],
      CapDrop: ['CAP_MKNOD'],
      Init: true,
      Sysctls: { 'net.core.somaxconn': '1024' },
      Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
      OomScoreAdj: 100,
      ExtraHosts: ['db:10.1.1.1', 'db.example:10.1.1.1'],
      Dns: ['10.1.1.2'],
      DnsSearch: ['example'],
      DnsOptions: ['ndots:1'],
      SecurityOpt: [
        'no-new-privileges=true',
        'seccomp={"defaultAction":"x"}',
        'apparmor=unconfined',
        'label=type:svirt_t',
      ],
      NanoCpus: 500_000_000,
      Memory: 64_000_000,
      PidsLimit: 50,
      MemoryReservation: 32_000_000,
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
    },
    endpoints: {
      net1: { NetworkID: 'net1', IPAMConfig: { IPv4Address: '10.0.1.7' }, Aliases: ['web'] },
      net2: { NetworkID: 'net2', IPAMConfig: { IPv4Address: '10.0.2.9' }, Aliases: [] },
    },
  });
});

test('arguments alone go to the image’s entrypoint', () => {
  const { config } = containerRequestOf(assignedTask({ container: { Args: ['-v'] } }));
  assert.deepEqual([config.Entrypoint, config.Cmd], [undefined, ['-v']]);
});

test('a network of the node is asked for by name', () => {
  const { hostConfig, endpoints } = containerRequestOf(
    assignedTask({ spec: { Networks: [{ Target: 'host' }] } }),
  );
  assert.deepEqual([hostConfig.NetworkMode, endpoints], ['host', {}]);
});

test('a global service’s task is named after its node', () => {
  const request = containerRequestOf(assignedTask({ slot: 0, container: { Hostname: '{{.Task.Slot}}' } }));
  assert.equal(request.name, 'web.node000000000000000000000.task00000000000000000000a');
  assert.equal(request.config.Hostname, 'node000000000000000000000');
});

const REFUSED: [string, Partial<ContainerSpec>, RegExp][] = [
  ['a placeholder', { Env: ['A={{.Node.Platform}}'] }, /\{\{\.Node\.Platform\}\} is not known/],
  ['a mount', { Mounts: [{ Type: 'cluster', Target: '/x' }] }, /type "cluster"/],
  ['an isolation', { Isolation: 'hyperv' }, /isolation 'hyperv'/],
  ['a credential of Windows', { Privileges: { CredentialSpec: { Config: 'x' } } }, /CredentialSpec/],
];

for (const [what, container, message] of REFUSED) {
  test(`${what} that is not known is refused by name`, () => {
    assert.throws(() => containerRequestOf(assignedTask({ container })), { kind: 'invalid', message });
  });
}
