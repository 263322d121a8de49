import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();

interface Stats {
  id: string;
  name: string;
  read: string;
  preread: string;
  pids_stats: { current?: number; limit?: number };
  cpu_stats: Cpu;
  precpu_stats: Cpu;
  memory_stats: { usage?: number; limit?: number; stats?: Record<string, number> };
  blkio_stats: Record<string, object[] | null>;
  networks?: Record<string, Record<string, number>>;
}

interface Cpu {
  cpu_usage: { total_usage: number; usage_in_usermode: number; usage_in_kernelmode: number };
  system_cpu_usage?: number;
  online_cpus?: number;
}

async function stats(name: string, query: string): Promise<Stats> {
  const { status, body } = await host.call('GET', `/containers/${name}/stats?${query}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body as Stats;
}

const MIB = 1024 * 1024;

test('stats count processes, processor time, memory and its limit', async () => {
  host.runDetached(
    ['--name', 'busy', '-m', '64m', '--pids-limit', '50'],
    'sh',
    '-c',
    'sleep 1000 & while :; do :; done',
  );
  const seen = await stats('busy', 'stream=false');
  assert.equal(seen.name, '/busy');
  assert.equal(seen.id, host.inspect('busy', '{{.Id}}'));
  assert.equal(seen.pids_stats.current, 2);
  assert.equal(seen.pids_stats.limit, 50);
  assert.equal(seen.memory_stats.limit, 64 * MIB);
  assert.ok((seen.memory_stats.usage ?? 0) > 0 && (seen.memory_stats.usage ?? 0) < 64 * MIB);
  assert.ok(Object.keys(seen.memory_stats.stats ?? {}).length > 10);
  const { cpu_stats: now, precpu_stats: before } = seen;
  assert.ok(now.cpu_usage.total_usage > before.cpu_usage.total_usage, 'it was busy in between');
  assert.ok((now.system_cpu_usage ?? 0) > (before.system_cpu_usage ?? 0));
  assert.ok(
    now.cpu_usage.total_usage - before.cpu_usage.total_usage <=
      (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0),
  );
  assert.ok((now.online_cpus ?? 0) >= 1);
  assert.ok(Date.parse(seen.read) > Date.parse(seen.preread));
  assert.ok(Date.parse(seen.preread) > 0);
});

test('memory in use is what the CLI makes of it', () => {
  host.runDetached(
    ['--name', 'holder', '-m', '256m', '--tmpfs', '/hold:size=200m'],
    'sh',
    '-c',
    'head -c 52428800 /dev/zero > /hold/x; exec sleep 1000',
  );
  const wait = (): number => {
    const [, used = '', unit = ''] =
      /^([\d.]+)(\w+) \/ 256MiB$/.exec(
        host.ok('stats', '--no-stream', '--format', '{{.MemUsage}}', 'holder'),
      ) ?? [];
    return Number(used) * ({ KiB: 1 / 1024, MiB: 1, GiB: 1024 }[unit] ?? 0);
  };
  let used = wait();
  for (let tries = 0; used < 50 && tries < 20; tries++) used = wait();
  assert.ok(used >= 50 && used < 100, `${used} MiB for 50 held`);
});

test('the network is counted by interface', async () => {
  host.ok('network', 'create', 'front');
  host.runDetached(['--name', 'peer', '--network', 'front'], 'sleep', '1000');
  host.runDetached(['--name', 'talker', '--network', 'front'], 'sleep', '1000');
  const before = await stats('talker', 'stream=false&one-shot=true');
  host.ok('exec', 'talker', 'ping', '-c', '3', '-i', '0.2', '-s', '1000', 'peer');
  const after = await stats('talker', 'stream=false&one-shot=true');
  const grown = (key: string): number =>
    (after.networks?.['eth0']?.[key] ?? 0) - (before.networks?.['eth0']?.[key] ?? 0);
  assert.ok(grown('tx_bytes') >= 3000, 'three packets were sent');
  assert.ok(grown('rx_bytes') >= 3000, 'and answered');
  assert.ok(grown('tx_packets') >= 3);
  assert.deepEqual(Object.keys(after.networks ?? {}), ['eth0']);
  host.runDetached(['--name', 'alone', '--network', 'none'], 'sleep', '1000');
  assert.deepEqual(Object.keys((await stats('alone', 'stream=false&one-shot=true')).networks ?? {}), []);
});

test('one shot comes without a sample before it', async () => {
  host.runDetached(['--name', 'box'], 'sleep', '1000');
  const { precpu_stats: before, cpu_stats: now, preread } = await stats('box', 'stream=false&one-shot=true');
  assert.equal(before.cpu_usage.total_usage, 0);
  assert.ok(now.cpu_usage.total_usage > 0);
  assert.equal(preread, '0001-01-01T00:00:00Z');
  const { status } = await host.call('GET', '/containers/box/stats?stream=true&one-shot=true');
  assert.equal(status, 400);
});

test('a container that does not run has its name and nothing else', async () => {
  host.ok('create', '--name', 'box', 'bb', 'true');
  const seen = await stats('box', 'stream=false');
  assert.equal(seen.name, '/box');
  assert.equal(seen.read, '0001-01-01T00:00:00Z');
  assert.deepEqual(seen.memory_stats, {});
  assert.equal((await host.call('GET', '/containers/nosuch/stats?stream=false')).status, 404);
});

test('docker stats shows all that run, once or going on', async () => {
  host.runDetached(['--name', 'one'], 'sleep', '1000');
  host.runDetached(['--name', 'two'], 'sleep', '1000');
  const lines = host
    .ok('stats', '--no-stream', '--format', '{{.Name}} {{.CPUPerc}} {{.MemPerc}} {{.PIDs}}')
    .split('\n')
    .sort();
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /^one \d+\.\d+% \d+\.\d+% 1$/);
  const following = host.start('stats', '--format', '{{.Name}} {{.PIDs}}', 'one');
  await following.prints(/one 1[\s\S]*one 1/);
  // Ctrl-C outside of a terminal does not end it.
  following.process.kill('SIGKILL');
  await following.end();
});

test('a stream ends with its container', async () => {
  host.runDetached(['--name', 'box', '--rm'], 'sleep', '1000');
  const call = request({ socketPath: host.socket, path: '/containers/box/stats', agent: false });
  call.end();
  const [response]: IncomingMessage[] = await once(call, 'response');
  assert.equal(response?.statusCode, 200);
  host.ok('rm', '-f', 'box');
  const [first = ''] = (await text(response ?? [])).split('\n');
  assert.equal(JSON.parse(first).name, '/box');
});
