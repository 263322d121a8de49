import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostConfig } from '#model/container.ts';
import { checkConflicts, completeHostConfig, containerOfMode, logMaximumBytes } from './host-config.ts';

function complete(asked: Partial<HostConfig>): HostConfig {
  return completeHostConfig(asked, { cpus: 2, cgroupVersion: 1, runtimeName: 'crun' });
}

test('nothing asked is Docker’s defaults', () => {
  const config = complete({});
  assert.equal(config.NetworkMode, 'bridge');
  assert.equal(config.ShmSize, 67_108_864);
  assert.equal(config.IpcMode, 'private');
  assert.equal(config.CgroupnsMode, 'host');
  assert.deepEqual(config.LogConfig, { Type: 'json-file', Config: {} });
  assert.equal(config.MaskedPaths?.includes('/proc/kcore'), true);
  assert.deepEqual(complete({ Privileged: true }).MaskedPaths, []);
  assert.equal(complete({ Memory: 8_000_000 }).MemorySwap, 16_000_000);
  assert.equal(complete({ PidsLimit: -1 }).PidsLimit, null);
});

test('what makes no sense is refused in Docker’s words', () => {
  const refused: [Partial<HostConfig>, string][] = [
    [{ Memory: 1000 }, 'Minimum memory limit allowed is 6MB'],
    [
      { MemorySwap: 8_000_000 },
      'You should always set the Memory limit when using Memoryswap limit, see usage',
    ],
    [{ NanoCpus: 3e9 }, 'range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
    [{ NanoCpus: 1e9, CpuQuota: 5000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
    [
      { AutoRemove: true, RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } },
      "can't create 'AutoRemove' container with restart policy",
    ],
    [{ IpcMode: 'x' }, 'invalid IPC mode: x'],
    [{ PidMode: 'container:' }, 'invalid PID mode: container:'],
    [{ LogConfig: { Type: 'syslog', Config: {} } }, "logger: no log driver named 'syslog' is registered"],
    [{ ExtraHosts: ['a'] }, 'bad format for add-host: "a"'],
    [{ ExtraHosts: ['a:1.2.3'] }, 'invalid IP address in add-host: "1.2.3"'],
    [{ PortBindings: { '80/x': [] } }, 'invalid port specification: "80/x"'],
    [{ Runtime: 'kata' }, 'unknown or invalid runtime name: kata'],
    [{ OomScoreAdj: 2000 }, 'Invalid value 2000, range for oom score adj is [-1000, 1000]'],
  ];
  for (const [asked, message] of refused) assert.throws(() => complete(asked), { kind: 'invalid', message });
  complete({ ExtraHosts: ['a:::1', 'b=10.0.0.1', 'c:host-gateway', 'd:[::1]'] });
});

test('a container that lives in another one’s network has no network options of its own', () => {
  const host = complete({ NetworkMode: 'container:x' });
  assert.throws(() => checkConflicts({ Hostname: 'a' }, host), /hostname and the network mode/);
  const published = { ...host, PortBindings: { '80/tcp': null } };
  assert.throws(() => checkConflicts({}, published), /port publishing and the container type network mode/);
  checkConflicts({}, host);
  assert.equal(containerOfMode('container:x'), 'x');
  assert.equal(containerOfMode('host'), undefined);
});

test('the size of a log is read with its unit', () => {
  const bytes = (size: string): number | undefined =>
    logMaximumBytes({ Type: 'json-file', Config: { 'max-size': size } });
  assert.equal(bytes('10m'), 10_485_760);
  assert.equal(bytes('5'), 5);
  assert.equal(bytes('-1'), undefined);
  assert.throws(() => bytes('ten'), /invalid size: 'ten'/);
});

test('the daemon’s default limits fill in for those that are not set', () => {
  const defaultUlimits = [
    { Name: 'nofile', Soft: 1024, Hard: 2048 },
    { Name: 'nproc', Soft: 10, Hard: 10 },
  ];
  const limitsOf = (Ulimits: HostConfig['Ulimits']): HostConfig['Ulimits'] =>
    completeHostConfig({ Ulimits }, { cpus: 4, cgroupVersion: 2, runtimeName: 'crun', defaultUlimits })
      .Ulimits;
  assert.deepEqual(limitsOf(null), defaultUlimits);
  assert.deepEqual(limitsOf([{ Name: 'nofile', Soft: 1, Hard: 2 }]), [
    { Name: 'nofile', Soft: 1, Hard: 2 },
    { Name: 'nproc', Soft: 10, Hard: 10 },
  ]);
});
