import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { BUSYBOX, DockerHost } from '../support/docker-host.ts';

let host: DockerHost;

before(async () => {
  host = await DockerHost.open();
});
afterEach(() => {
  host.clear();
  const others = host
    .ok('images', '-aq', '--no-trunc')
    .split('\n')
    .filter((id) => id !== host.ok('images', '-q', '--no-trunc', 'bb'));
  if (others.length > 0) host.ok('rmi', '-f', ...new Set(others));
});
after(async () => {
  await host[Symbol.asyncDispose]();
});

/** A small root file system of its own, as an archive. */
function rootfs(name: string): string {
  const directory = join(host.directory, name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'name'), name);
  const archive = join(host.directory, `${name}.tar`);
  execFileSync('tar', ['-C', directory, '-cf', archive, '.']);
  return archive;
}

const CONFIG = '{{json .Config.Cmd}} {{json .Config.Entrypoint}} {{.Config.User}} {{.Config.WorkingDir}}';

test('import makes an image of an archive, with the changes asked for', () => {
  const id = host.ok(
    'import',
    '-m',
    'said so',
    ...[
      'CMD ["two"]',
      'ENTRYPOINT ["echo", "one"]',
      'ENV A=1 B="x y"',
      'USER nobody',
      'WORKDIR /tmp',
      'EXPOSE 80/tcp 53/udp',
      'VOLUME /data',
      'LABEL l=v',
    ].flatMap((change) => ['-c', change]),
    BUSYBOX,
    'made:v1',
  );
  assert.match(id, /^sha256:[0-9a-f]{64}$/);
  assert.equal(host.ok('image', 'inspect', '-f', CONFIG, 'made:v1'), '["two"] ["echo","one"] nobody /tmp');
  assert.equal(
    host.ok(
      'image',
      'inspect',
      '-f',
      '{{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Config.Labels.l}} {{.Comment}}',
      'made:v1',
    ),
    '{"53/udp":{},"80/tcp":{}} {"/data":{}} v said so',
  );
  assert.equal(host.ok('run', '--rm', 'made:v1'), 'one two');
  assert.equal(host.ok('run', '--rm', 'made:v1', 'three'), 'one three');
  assert.equal(
    host.ok('run', '--rm', '--entrypoint', 'sh', 'made:v1', '-c', 'echo $A $B; whoami; pwd'),
    '1 x y\nnobody\n/tmp',
  );
  host.fails(1, /NOSUCH|unknown instruction/i, 'import', '-c', 'NOSUCH x', BUSYBOX, 'bad');
  host.fails(1, /invalid reference format/, 'import', BUSYBOX, 'UPPER');
});

test('import reads standard input, compressed archives too', () => {
  for (const compressor of ['gzip', 'xz', 'bzip2']) {
    const bytes = execFileSync(compressor, ['-c', rootfs(`in-${compressor}`)]);
    assert.equal(host.input(bytes, 'import', '-', `in:${compressor}`).status, 0, compressor);
  }
  host.ok('create', 'in:gzip', 'x');
});

test('save and load carry an image with its names to another daemon', () => {
  const first = host.ok('import', '-c', 'CMD ["echo", "hello"]', BUSYBOX, 'carried:v1');
  host.ok('tag', 'carried:v1', 'other.name/space/carried:v2');
  const archive = join(host.directory, 'saved.tar');
  host.ok('save', '-o', archive, 'carried:v1', 'other.name/space/carried:v2');
  host.ok('rmi', 'carried:v1', 'other.name/space/carried:v2');
  assert.match(host.ok('load', '-i', archive), /Loaded image: carried:v1/);
  assert.equal(host.ok('images', '-q', '--no-trunc', 'other.name/space/carried:v2'), first);
  assert.equal(host.ok('run', '--rm', 'carried:v1'), 'hello');
  const names = execFileSync('tar', ['-tf', archive], { encoding: 'utf8' });
  assert.match(names, /^manifest\.json$/m);
  // By id, without a name.
  assert.match(
    host.input(host.docker('save', first).status === 0 ? readFileSync(archive) : '', 'load').stdout,
    /Loaded image/,
  );
  host.fails(1, /No such image|reference does not exist/, 'save', '-o', archive, 'nosuch');
});

test('loading twice, or a compressed archive, changes nothing', () => {
  host.ok('import', rootfs('twice'), 'twice');
  const archive = join(host.directory, 'twice-saved.tar');
  host.ok('save', '-o', archive, 'twice');
  const before = host.ok('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}');
  host.ok('load', '-i', archive);
  const gzipped = execFileSync('gzip', ['-c', archive]);
  assert.equal(host.input(gzipped, 'load', '-q').status, 0);
  assert.equal(host.ok('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}'), before);
});

test('tags move, and an image without one is dangling', () => {
  const one = host.ok('import', rootfs('one'), 'moving');
  const two = host.ok('import', rootfs('two'), 'moving:latest');
  assert.equal(host.ok('images', '-q', '--no-trunc', 'moving'), two);
  assert.equal(host.ok('images', '-q', '--no-trunc', '--filter', 'dangling=true'), one);
  assert.match(host.ok('images', '--filter', 'dangling=true'), /<none> +<none>/);
  host.ok('tag', one, 'moving:old');
  assert.equal(host.ok('images', '-q', '--filter', 'dangling=true'), '');
  host.fails(1, /No such image/, 'tag', 'nosuch', 'x');
  host.fails(1, /not a valid repository\/tag|invalid reference format/, 'tag', 'moving', 'x:y:z');
});

test('images lists, by name, label and age', () => {
  host.ok('import', '-c', 'LABEL stage=test', rootfs('l1'), 'list:a');
  host.ok('import', rootfs('l2'), 'list:b');
  const list = (...args: string[]): string[] =>
    host
      .ok('images', '--format', '{{.Repository}}:{{.Tag}}', ...args)
      .split('\n')
      .filter(Boolean)
      .sort();
  assert.deepEqual(list('list'), ['list:a', 'list:b']);
  assert.deepEqual(list('list:a'), ['list:a']);
  assert.deepEqual(list('--filter', 'label=stage=test'), ['list:a']);
  assert.deepEqual(list('--filter', 'reference=li*:b'), ['list:b']);
  assert.deepEqual(list('--filter', 'before=list:b', '--filter', 'reference=list'), ['list:a']);
  assert.deepEqual(list('--filter', 'since=list:a'), ['list:b']);
  host.fails(1, /invalid filter/i, 'images', '--filter', 'nosuch=1');
});

test('rmi: by name untags, the last name deletes, users are named', () => {
  const id = host.ok('import', rootfs('removed'), 'rm:a');
  host.ok('tag', 'rm:a', 'rm:b');
  host.fails(1, /must be forced/, 'rmi', id);
  assert.match(host.ok('rmi', 'rm:a'), /^Untagged: rm:a$/);
  host.ok('create', '--name', 'user', 'rm:b', 'x');
  host.fails(1, /conflict.*container [0-9a-f]{12} is using/, 'rmi', 'rm:b');
  host.ok('rm', 'user');
  assert.match(host.ok('rmi', 'rm:b'), /Untagged: rm:b\nDeleted: sha256:/);
  host.fails(1, /No such image/i, 'rmi', 'rm:b');
});

test('prune removes dangling images, -a all that no container uses', () => {
  host.ok('import', rootfs('p1'), 'prune');
  host.ok('import', rootfs('p2'), 'prune');
  host.ok('create', 'bb', 'true');
  assert.match(host.ok('image', 'prune', '-f'), /[Dd]eleted: sha256:/);
  assert.equal(host.ok('images', '-q', 'prune').split('\n').length, 1);
  host.ok('image', 'prune', '-af');
  assert.equal(host.ok('images', '-q', 'prune'), '');
  assert.notEqual(host.ok('images', '-q', 'bb'), '');
});

test('inspect and history tell where an image comes from', () => {
  host.ok('import', '-m', 'by hand', rootfs('inspected'), 'seen:it');
  assert.equal(
    host
      .ok('image', 'inspect', '-f', '{{.Os}} {{.Architecture}} {{index .RepoTags 0}}', 'seen:it')
      .replace('arm64', 'amd64'),
    'linux amd64 seen:it',
  );
  assert.match(
    host.ok('image', 'inspect', '-f', '{{.Created}} {{.Size}} {{index .RootFS.Layers 0}}', 'seen:it'),
    /^20\d\d-.*Z \d+ sha256:[0-9a-f]{64}$/,
  );
  assert.match(host.ok('history', 'seen:it'), /by hand|Imported from/);
  host.fails(1, /No such image: nosuch/, 'image', 'inspect', 'nosuch');
});

test('an image is found by name, tag, short and long id', () => {
  const id = host.ok('images', '-q', '--no-trunc', 'bb');
  for (const name of ['bb', 'bb:latest', 'docker.io/library/bb', id, id.slice(7, 19)]) {
    assert.equal(host.ok('image', 'inspect', '-f', '{{.Id}}', name), id, name);
  }
  const container = host.ok('create', id.slice(7, 19), 'true');
  assert.equal(host.inspect(container, '{{.Image}}'), id);
});
