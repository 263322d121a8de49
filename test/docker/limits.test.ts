import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';
import { differs } from './known-differences.ts';

const host = await hostOfFile();

const IS_V2 = existsSync('/sys/fs/cgroup/cgroup.controllers');

/** A file of the cgroup that the container's first process is in, by its name on v1 and on v2. */
function cgroupFile(id: string, controller: string, v1: string, v2: string): string {
  const pid = host.inspect(id, '{{.State.Pid}}');
  const memberships = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
  const wanted = IS_V2 ? '' : controller;
  const path = memberships.map((line) => line.split(':')).find((fields) => fields[1] === wanted)?.[2];
  const root = IS_V2 ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${controller}`;
  return readFileSync(`${root}${path}/${IS_V2 ? v2 : v1}`, 'utf8').trim();
}

test('memory, CPU and process limits are in the container’s cgroup', () => {
  const id = host.runDetached(
    [
      ...['--memory', '64m', '--memory-reservation', '32m', '--cpus', '0.5'],
      ...['--cpu-shares', '512', '--pids-limit', '50', '--cpuset-cpus', '0'],
    ],
    'sleep',
    '1000',
  );
  assert.equal(cgroupFile(id, 'memory', 'memory.limit_in_bytes', 'memory.max'), String(64 << 20));
  assert.equal(cgroupFile(id, 'memory', 'memory.soft_limit_in_bytes', 'memory.low'), String(32 << 20));
  const quota = IS_V2
    ? cgroupFile(id, 'cpu', '', 'cpu.max')
    : `${cgroupFile(id, 'cpu', 'cpu.cfs_quota_us', '')} ${cgroupFile(id, 'cpu', 'cpu.cfs_period_us', '')}`;
  assert.equal(quota, '50000 100000');
  if (!IS_V2) assert.equal(cgroupFile(id, 'cpu', 'cpu.shares', ''), '512');
  assert.equal(cgroupFile(id, 'pids', 'pids.max', 'pids.max'), '50');
  assert.equal(cgroupFile(id, 'cpuset', 'cpuset.cpus', 'cpuset.cpus'), '0');
  assert.equal(host.inspect(id, '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}'), '67108864 500000000');
});

test('limits end with their container', () => {
  const id = host.runDetached(['--memory', '64m'], 'sleep', '1000');
  const pid = host.inspect(id, '{{.State.Pid}}');
  const controller = IS_V2 ? '' : 'memory';
  const path = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[1] === controller)?.[2];
  const directory = `/sys/fs/cgroup/${controller}${path}`;
  assert.ok(existsSync(directory));
  host.ok('rm', '-f', id);
  assert.equal(existsSync(directory), false);
});

test('a container that needs more memory than it may is killed, and says why', () => {
  const eat = 'x=a; while :; do x=$x$x; done';
  const { status } = host.docker('run', '--name', 'eater', '--memory', '16m', 'bb', 'sh', '-c', eat);
  assert.equal(status, 137);
  assert.equal(host.inspect('eater', '{{.State.OOMKilled}} {{.State.ExitCode}}'), 'true 137');
  assert.equal(host.docker('run', '--name', 'fine', '--memory', '16m', 'bb', 'true').status, 0);
  assert.equal(host.inspect('fine', '{{.State.OOMKilled}}'), 'false');
});

test('no more processes than the limit', () => {
  const { stdout, stderr } = host.docker(
    ...['run', '--rm', '--pids-limit', '5', 'bb', 'sh', '-c'],
    'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait',
  );
  assert.match(stdout + stderr, /can't fork|Resource temporarily unavailable/i);
});

test('ulimits are as asked', () => {
  const limits = host.ok(
    ...['run', '--rm', '--ulimit', 'nofile=100:200', '--ulimit', 'core=0', '--ulimit', 'nproc=64'],
    ...['bb', 'cat', '/proc/self/limits'],
  );
  assert.match(limits, /^Max open files +100 +200 /m);
  assert.match(limits, /^Max core file size +0 +0 /m);
  assert.match(limits, /^Max processes +64 +64 /m);
});

test('the size of /dev/shm, kernel settings and the OOM score are as asked', () => {
  assert.match(host.ok('run', '--rm', 'bb', 'df', '-k', '/dev/shm'), /\b65536\b/);
  assert.match(host.ok('run', '--rm', '--shm-size', '1m', 'bb', 'df', '-k', '/dev/shm'), /\b1024\b/);
  const setting = ['--sysctl', 'net.ipv4.ip_forward=0', '--sysctl', 'kernel.msgmax=4096'];
  assert.equal(
    host.ok(
      'run',
      '--rm',
      ...setting,
      'bb',
      'cat',
      '/proc/sys/net/ipv4/ip_forward',
      '/proc/sys/kernel/msgmax',
    ),
    '0\n4096',
  );
  assert.equal(
    host.ok('run', '--rm', '--oom-score-adj', '500', 'bb', 'cat', '/proc/self/oom_score_adj'),
    '500',
  );
});

test('a limit that cannot be is refused by name', differs('limit-checks'), () => {
  const refused = (message: RegExp, ...options: string[]): void =>
    host.fails(125, message, 'run', '--rm', ...options, 'bb', 'true');
  refused(/[Mm]inimum memory limit allowed is 6\s?MB/, '--memory', '1m');
  refused(/memory reservation/i, '--memory', '32m', '--memory-reservation', '64m');
  refused(/memoryswap|memory-swap|[Mm]emory swap/i, '--memory', '32m', '--memory-swap', '16m');
  refused(/CPUs/, '--cpus', '4096');
  refused(/cpuset/i, '--cpuset-cpus', '4000');
  refused(/nosuch/, '--ulimit', 'nosuch=1');
  refused(/sysctl/, '--sysctl', 'kernel.panic=1');
  refused(/oom/i, '--oom-score-adj', '5000');
  assert.equal(host.ok('ps', '-aq'), '');
});
