import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';
import { differs } from './known-differences.ts';

const host = await hostOfFile();

/** Docker's default: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, … */
const DEFAULT_CAPABILITIES = '00000000a80425fb';
const NET_ADMIN = 1n << 12n;
const CHOWN = 1n;

function capabilities(...options: string[]): Record<string, string> {
  const text = host.ok('run', '--rm', ...options, 'bb', 'grep', '^Cap', '/proc/self/status');
  return Object.fromEntries(text.split('\n').map((line) => line.split(/:\s*/)));
}

function effective(...options: string[]): bigint {
  return BigInt(`0x${capabilities(...options)['CapEff']}`);
}

test('a container has Docker’s default capabilities, no more', () => {
  const held = capabilities();
  assert.equal(held['CapEff'], DEFAULT_CAPABILITIES);
  assert.equal(held['CapBnd'], DEFAULT_CAPABILITIES);
  assert.equal(held['CapPrm'], DEFAULT_CAPABILITIES);
});

test('capabilities are added and dropped by name', () => {
  const defaults = BigInt(`0x${DEFAULT_CAPABILITIES}`);
  assert.equal(effective('--cap-add', 'NET_ADMIN'), defaults | NET_ADMIN);
  assert.equal(effective('--cap-add', 'cap_net_admin'), defaults | NET_ADMIN);
  assert.equal(effective('--cap-drop', 'CHOWN'), defaults & ~CHOWN);
  assert.equal(effective('--cap-drop', 'ALL', '--cap-add', 'CHOWN'), CHOWN);
  host.fails(125, /NOSUCH/, 'run', '--rm', '--cap-add', 'NOSUCH', 'bb', 'true');
  // What it cannot do without: an address of its own, for one.
  const add = ['ip', 'addr', 'add', '10.9.9.9/32', 'dev', 'lo'];
  assert.notEqual(host.docker('run', '--rm', 'bb', ...add).status, 0);
  host.ok('run', '--rm', '--cap-add', 'NET_ADMIN', 'bb', ...add);
});

test('another user has no capabilities, and gets none', () => {
  const held = capabilities('--user', '1000');
  assert.equal(held['CapEff'], '0000000000000000');
  assert.equal(held['CapPrm'], '0000000000000000');
});

test('privileged: what the daemon has, every device, writable /sys', differs('privileged'), () => {
  const defaults = BigInt(`0x${DEFAULT_CAPABILITIES}`);
  const all = effective('--privileged');
  assert.equal(all & defaults, defaults);
  assert.notEqual(all & NET_ADMIN, 0n);
  const show = (...options: string[]): string =>
    host.ok('run', '--rm', ...options, 'bb', 'sh', '-c', 'ls /dev | wc -l; grep " /sys " /proc/mounts');
  const [devices = '', sys = ''] = show('--privileged').split('\n');
  const [fewer = '', readOnly = ''] = show().split('\n');
  assert.ok(Number(devices) > Number(fewer));
  assert.match(sys, / rw[, ]/);
  assert.match(readOnly, / ro[, ]/);
});

test('the seccomp profile refuses what containers have no use for', () => {
  const status = (...options: string[]): string =>
    host.ok('run', '--rm', ...options, 'bb', 'grep', '^Seccomp:', '/proc/self/status').replace(/\s+/, ' ');
  assert.equal(status(), 'Seccomp: 2');
  assert.equal(status('--security-opt', 'seccomp=unconfined'), 'Seccomp: 0');
  const unshare = ['unshare', '-U', 'true'];
  assert.notEqual(host.docker('run', '--rm', 'bb', ...unshare).status, 0);
});

test('a seccomp profile of one’s own', () => {
  const profile = join(host.directory, 'profile.json');
  writeFileSync(
    profile,
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
    }),
  );
  const options = ['--rm', '--security-opt', `seccomp=${profile}`];
  assert.equal(host.ok('run', ...options, 'bb', 'echo', 'fine'), 'fine');
  host.fails(1, /not permitted/, 'run', ...options, 'bb', 'mkdir', '/new');
  writeFileSync(profile, '{');
  host.fails(125, /seccomp/i, 'run', ...options, 'bb', 'true');
});

test('paths that tell of the host are masked or read-only', () => {
  const run = (command: string, ...options: string[]): string =>
    host.ok('run', '--rm', ...options, 'bb', 'sh', '-c', command);
  assert.equal(run('wc -c < /proc/timer_list; ls /proc/acpi /sys/firmware | grep -cv :'), '0\n1');
  assert.match(run('echo 1 > /proc/sys/kernel/panic || true; echo done'), /done/);
  for (const path of ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'].filter(
    (name) => existsSync(name),
  ))
    assert.match(run(`grep " ${path} " /proc/mounts`), / ro[, ]/);
  assert.equal(
    run('grep -c " /proc/sys " /proc/mounts || true', '--security-opt', 'systempaths=unconfined'),
    '0',
  );
});

test('--read-only: the root file system, but not what is mounted', () => {
  const run = (...options: string[]) =>
    host.docker('run', '--rm', '--read-only', ...options, 'bb', 'sh', '-c', 'echo x > /tmp/f && cat /tmp/f');
  const refused = run();
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /Read-only file system/);
  assert.equal(run('--tmpfs', '/tmp').stdout, 'x\n');
  assert.equal(run('-v', 'data:/tmp').stdout, 'x\n');
  assert.notEqual(
    host.docker('run', '--rm', '--read-only', 'bb', 'sh', '-c', 'echo "1.1.1.1 a" >> /etc/hosts').status,
    0,
  );
  host.ok('run', '--rm', '--read-only', 'bb', 'sh', '-c', 'echo x > /dev/shm/f');
});

test('no-new-privileges', () => {
  const status = (...options: string[]): string =>
    host.ok('run', '--rm', ...options, 'bb', 'grep', '^NoNewPrivs', '/proc/self/status').replace(/\s+/, ' ');
  assert.equal(status(), 'NoNewPrivs: 0');
  assert.equal(status('--security-opt', 'no-new-privileges'), 'NoNewPrivs: 1');
  assert.equal(status('--security-opt', 'no-new-privileges:true'), 'NoNewPrivs: 1');
  host.fails(125, /nosuch/, 'run', '--rm', '--security-opt', 'nosuch=1', 'bb', 'true');
});

test('users and groups by name and number', () => {
  const ids = (...options: string[]): string =>
    host.ok('run', '--rm', ...options, 'bb', 'sh', '-c', 'echo $(id -u) $(id -g) $(id -G)');
  assert.equal(ids().split(' ')[0], '0');
  assert.match(ids('--user', 'www-data'), /^33 33\b/);
  assert.match(ids('--user', '7:8'), /^7 8\b/);
  assert.match(ids('--user', '1234'), /^1234 0\b/);
  assert.match(
    ids('--user', '7:8', '--group-add', '42', '--group-add', 'www-data'),
    /^7 8 .*\b33 42$|^7 8 .*42 33$/,
  );
  host.fails(125, /nosuch/, 'run', '--rm', '--user', 'nosuch', 'bb', 'true');
  host.fails(125, /nosuch/, 'run', '--rm', '--user', '0:nosuch', 'bb', 'true');
});

test('devices: the usual ones only, one more as asked, with the access asked for', () => {
  const list = host.ok('run', '--rm', 'bb', 'ls', '/dev').split('\n');
  for (const name of [
    'null',
    'zero',
    'full',
    'random',
    'urandom',
    'tty',
    'ptmx',
    'pts',
    'shm',
    'fd',
    'stdin',
  ])
    assert.ok(list.includes(name), name);
  assert.ok(!list.includes('kmsg') && !list.includes('fuse'));
  const use = ['sh', '-c', 'head -c 1 /dev/mine | wc -c; echo x > /dev/mine && echo written'];
  assert.equal(
    host.docker('run', '--rm', '--device', '/dev/zero:/dev/mine', 'bb', ...use).stdout,
    '1\nwritten\n',
  );
  // A device that is not asked for cannot be made and used either: 1:11 is /dev/kmsg.
  assert.notEqual(
    host.docker('run', '--rm', 'bb', 'sh', '-c', 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg').status,
    0,
  );
  host.fails(127, /\/dev\/nosuch/, 'run', '--rm', '--device', '/dev/nosuch', 'bb', 'true');
});

test('--init reaps what nobody waits for, and passes signals on', () => {
  const orphan = 'sh -c "true & exec sleep 0.1" & sleep 0.5; ps -o stat,args | grep -c "^Z" || true';
  assert.equal(host.ok('run', '--rm', '--init', 'bb', 'sh', '-c', orphan), '0');
  const id = host.runDetached(['--init'], 'sleep', '1000');
  assert.match(host.ok('exec', id, 'cat', '/proc/1/cmdline').replaceAll('\0', ' '), /init|catatonit/);
  host.ok('stop', '-t', '15', id);
  assert.equal(host.inspect(id, '{{.State.ExitCode}}'), '143');
});

test('namespaces of the host and of another container', () => {
  const pids = host.ok('run', '--rm', '--pid', 'host', 'bb', 'sh', '-c', 'ls -d /proc/[0-9]* | wc -l');
  assert.ok(Number(pids) > 10);
  assert.equal(host.ok('run', '--rm', '--uts', 'host', 'bb', 'hostname'), hostname());
  const id = host.runDetached(['--ipc', 'shareable', '--name', 'owner'], 'sleep', '1000');
  assert.match(host.ok('run', '--rm', '--pid', `container:${id}`, 'bb', 'ps', '-o', 'args'), /sleep 1000/);
  host.ok('exec', id, 'touch', '/dev/shm/shared');
  assert.equal(host.ok('run', '--rm', '--ipc', 'container:owner', 'bb', 'ls', '/dev/shm'), 'shared');
  host.runDetached(['--name', 'private', '--ipc', 'private'], 'sleep', '1000');
  host.fails(
    125,
    /non-shareable IPC|not shareable/i,
    'run',
    '--rm',
    '--ipc',
    'container:private',
    'bb',
    'true',
  );
});

test('a container does not see the host’s processes, mounts, links and users’ files', () => {
  const secret = join(host.directory, 'secret');
  mkdirSync(secret);
  writeFileSync(join(secret, 'file'), 'x');
  chmodSync(join(secret, 'file'), 0o600);
  assert.equal(host.ok('run', '--rm', 'bb', 'sh', '-c', `ls ${secret} 2>/dev/null | wc -l`), '0');
  assert.equal(host.ok('run', '--rm', 'bb', 'sh', '-c', 'ls -d /proc/[0-9]* | wc -l').length, 1);
  assert.doesNotMatch(host.ok('run', '--rm', 'bb', 'cat', '/proc/mounts'), new RegExp(host.directory));
});
