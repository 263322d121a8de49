import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';
import { differs } from './known-differences.ts';

const host = await hostOfFile();

function run(options: readonly string[], script: string): string {
  return host.ok('run', '--rm', ...options, 'bb', 'sh', '-c', script);
}

/** A directory on this machine with one file in it. */
function directory(name: string): string {
  const path = join(host.directory, name);
  mkdirSync(path);
  writeFileSync(join(path, 'file'), 'from the host\n');
  return path;
}

test('a named volume outlives its containers and is shared by them', () => {
  run(['-v', 'data:/data'], 'echo kept > /data/file');
  assert.equal(run(['-v', 'data:/elsewhere'], 'cat /elsewhere/file'), 'kept');
  assert.equal(
    run(
      ['--mount', 'type=volume,source=data,target=/m,readonly'],
      'cat /m/file; touch /m/x 2>/dev/null || echo ro',
    ),
    'kept\nro',
  );
  assert.equal(run(['-v', 'data:/m:ro'], 'touch /m/x 2>/dev/null || echo ro'), 'ro');
});

test('an empty volume starts with what the image has there, owners and modes included', () => {
  assert.equal(run(['-v', 'fresh:/home'], 'ls -A /home | wc -l'), '0');
  assert.equal(run(['-v', 'tmp:/tmp'], 'stat -c %a /tmp'), '1777');
  assert.equal(run(['-v', 'root:/root'], 'stat -c %a /root'), '700');
  assert.equal(run(['-v', 'etc:/etc'], 'grep -c root: /etc/passwd'), '1');
  assert.equal(run(['-v', 'bare:/etc:nocopy'], 'ls /etc | grep -c passwd || true'), '0');
  // Only the first time.
  run(['-v', 'etc:/mnt'], 'rm /mnt/passwd');
  assert.equal(run(['-v', 'etc:/mnt'], 'ls /mnt | grep -c passwd || true'), '0');
});

test('anonymous volumes go with the container, named ones stay', () => {
  host.ok('run', '--name', 'one', '-v', '/anon', '-v', 'named:/named', 'bb', 'true');
  assert.equal(host.ok('volume', 'ls', '-q').split('\n').length, 2);
  host.ok('rm', '-v', 'one');
  assert.equal(host.ok('volume', 'ls', '-q'), 'named');
  host.ok('run', '--rm', '-v', '/anon', 'bb', 'true');
  assert.equal(host.ok('volume', 'ls', '-q'), 'named');
  host.ok('run', '--name', 'two', '-v', '/anon', 'bb', 'true');
  host.ok('rm', 'two');
  assert.equal(host.ok('volume', 'ls', '-q', '--filter', 'dangling=true').split('\n').length, 2);
});

test('volumes are made, listed by filter, inspected, refused while used, removed', () => {
  host.ok('volume', 'create', '--label', 'a=b', 'mine');
  assert.match(host.ok('volume', 'create'), /^[0-9a-f]{64}$/);
  assert.equal(host.ok('volume', 'ls', '-q', '--filter', 'label=a=b'), 'mine');
  assert.equal(host.ok('volume', 'ls', '-q', '--filter', 'name=min'), 'mine');
  assert.equal(host.ok('volume', 'ls', '-q', '--filter', 'driver=nosuch'), '');
  assert.equal(
    host.ok('volume', 'inspect', '-f', '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.a}}', 'mine'),
    'mine local local b',
  );
  const mountpoint = host.ok('volume', 'inspect', '-f', '{{.Mountpoint}}', 'mine');
  run(['-v', 'mine:/m'], 'echo seen > /m/file');
  assert.equal(readFileSync(join(mountpoint, 'file'), 'utf8'), 'seen\n');
  host.ok('create', '--name', 'user', '-v', 'mine:/m', 'bb', 'true');
  host.fails(1, /volume is in use/, 'volume', 'rm', 'mine');
  host.ok('rm', 'user');
  host.ok('volume', 'rm', 'mine');
  assert.equal(existsSync(mountpoint), false);
  host.fails(1, /no such volume/i, 'volume', 'rm', 'mine');
  host.ok('volume', 'rm', '-f', 'mine');
  host.fails(1, /no such volume/i, 'volume', 'inspect', 'mine');
});

test('a volume name cannot leave the volumes', () => {
  host.fails(1, /includes invalid characters|invalid/i, 'volume', 'create', '../outside');
  host.fails(125, /invalid/i, 'run', '--rm', '-v', 'a/../../b:/m', 'bb', 'true');
});

test('a volume driver that is not there is refused', () => {
  host.fails(1, /nosuchdriver/, 'volume', 'create', '-d', 'nosuchdriver', 'v');
});

test('prune removes volumes that nobody uses', () => {
  host.ok('create', '-v', 'used:/u', 'bb', 'true');
  host.ok('volume', 'create');
  host.ok('volume', 'prune', '-f', '--filter', 'label!=none');
  assert.match(host.ok('volume', 'ls', '-q'), /^used$/m);
});

test('volume-subpath mounts a path of a volume, which docker cp sees as well', differs('subpath'), () => {
  run(['-v', 'parts:/v'], 'mkdir /v/part && echo in > /v/part/file && echo out > /v/file');
  const mount = 'type=volume,src=parts,dst=/x,volume-subpath=part';
  assert.equal(run(['--mount', mount], 'ls /x; cat /x/file'), 'file\nin');
  const id = host.ok('create', '--mount', mount, 'bb', 'true');
  assert.equal(host.inspect(id, '{{(index .Mounts 0).Name}}'), 'parts');
  host.ok('cp', `${id}:/x/file`, join(host.directory, 'copied'));
  assert.equal(readFileSync(join(host.directory, 'copied'), 'utf8'), 'in\n');
  host.fails(
    125,
    /subpath must be a relative path within the volume/,
    ...['run', '--rm', '--mount', 'type=volume,src=parts,dst=/x,volume-subpath=../..', 'bb', 'true'],
  );
});

test('--volumes-from takes the mounts of another container', () => {
  host.ok('create', '--name', 'from', '-v', 'shared:/s', 'bb', 'true');
  run(['--volumes-from', 'from'], 'echo x > /s/file');
  assert.equal(run(['--volumes-from', 'from:ro'], 'cat /s/file; touch /s/y 2>/dev/null || echo ro'), 'x\nro');
  host.fails(125, /nosuch/, 'run', '--rm', '--volumes-from', 'nosuch', 'bb', 'true');
});

test('bind mounts show the host’s directory, both ways, or only to read', () => {
  const path = directory('bound');
  assert.equal(run(['-v', `${path}:/b`], 'cat /b/file; echo back > /b/answer'), 'from the host');
  assert.equal(readFileSync(join(path, 'answer'), 'utf8'), 'back\n');
  assert.equal(run(['-v', `${path}:/b:ro`], 'touch /b/x 2>/dev/null || echo ro'), 'ro');
  assert.equal(run(['-v', `${path}/file:/etc/only`], 'cat /etc/only'), 'from the host');
  assert.equal(run(['--mount', `type=bind,src=${path},dst=/b,readonly`], 'cat /b/file'), 'from the host');
  const id = host.ok('create', '-v', `${path}:/b`, 'bb', 'true');
  assert.equal(
    host.inspect(id, '{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}'),
    `bind ${path} /b true`,
  );
});

test('-v makes a source that is not there, --mount refuses it', () => {
  const path = join(host.directory, 'made');
  run(['-v', `${path}:/b`], 'touch /b/x');
  assert.ok(statSync(path).isDirectory());
  host.fails(
    125,
    /bind source path does not exist/,
    'run',
    '--rm',
    '--mount',
    `type=bind,src=${path}2,dst=/b`,
    'bb',
    'true',
  );
  assert.equal(host.docker('run', '--rm', '--mount', `type=volume,src=v`, 'bb', 'true').status, 125);
});

test('mounts below mounts, and over what the image has', () => {
  const path = directory('outer');
  assert.equal(
    run(
      ['-v', `${path}:/a`, '-v', 'inner:/a/b', '--tmpfs', '/a/b/c'],
      'touch /a/b/c/x; mount | grep -c " /a"; ls /a',
    ),
    '3\nb\nfile',
  );
  assert.equal(run(['-v', `${path}:/bin/hidden`], 'cat /bin/hidden/file'), 'from the host');
});

test('a mount target stays inside the container, whatever its path says', () => {
  const path = directory('target');
  assert.equal(run(['-v', `${path}:/made/../../../escaped`], 'cat /escaped/file'), 'from the host');
  assert.equal(existsSync('/escaped'), false);
});

test('tmpfs: size, mode, and nothing stays', () => {
  assert.match(
    run(['--tmpfs', '/t:size=1m,mode=700'], 'mount | grep " /t "; stat -c %a /t'),
    /size=1024k.*\n700$/,
  );
  assert.equal(
    run(['--tmpfs', '/t:size=1m'], 'head -c 2000000 /dev/zero > /t/big 2>/dev/null || echo full'),
    'full',
  );
  assert.match(
    run(['--mount', 'type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1750'], 'mount | grep " /t "; stat -c %a /t'),
    /size=2048k.*\n1750$/,
  );
  assert.match(run(['--tmpfs', '/t'], 'mount | grep " /t "'), /noexec/);
});

test('what every container has is there, whatever its image: mount points, /etc/mtab, the mark of a container', () => {
  const shown = host.ok(
    'run',
    '--rm',
    'bb',
    'sh',
    '-c',
    'ls -d /.dockerenv /dev /proc /sys; readlink /etc/mtab',
  );
  assert.deepEqual(shown.split('\n'), ['/.dockerenv', '/dev', '/proc', '/sys', '/proc/mounts']);
});

test('what a container writes is its own and goes with it', () => {
  const id = host.runDetached([], 'sh', '-c', 'echo changed > /etc/passwd; sleep 1000');
  assert.match(run([], 'cat /etc/passwd'), /^root:/);
  host.ok('restart', '-t', '0', id);
  assert.equal(host.ok('exec', id, 'cat', '/etc/passwd'), 'changed');
});

test('the owner and the mode of a bound file are the host’s', () => {
  const path = directory('modes');
  chmodSync(join(path, 'file'), 0o640);
  assert.equal(run(['-v', `${path}:/b`], 'stat -c "%a %u" /b/file'), '640 0');
  assert.equal(
    host.docker('run', '--rm', '-u', 'nobody', '-v', `${path}:/b`, 'bb', 'cat', '/b/file').status,
    1,
  );
});
