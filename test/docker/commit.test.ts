import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';
import { listing } from '../support/tar-listing.ts';

const host = await hostOfFile();
afterEach(() => {
  host.clear();
  for (const name of ['made', 'again', 'made:two'])
    if (host.docker('image', 'inspect', name).status === 0) host.ok('rmi', '-f', name);
});

const run = (image: string, script: string): string => host.ok('run', '--rm', image, 'sh', '-c', script);
/** By path: dockerd tells them as it finds them. */
const changed = (name: string): string[] =>
  host
    .ok('diff', name)
    .split('\n')
    .filter(Boolean)
    .sort((a, b) => (a.slice(2) < b.slice(2) ? -1 : 1));

test('diff tells what a container added, changed and removed', () => {
  host.ok('run', '--name', 'idle', 'bb', 'true');
  assert.deepEqual(changed('idle'), []);
  host.ok(
    ...['run', '--name', 'busy', 'bb', 'sh', '-c'],
    'mkdir /new; echo x > /new/file; echo x >> /etc/passwd; rm /etc/group; mkdir -p /root/a/b; rm -r /bin/vi; touch /root/a/b/c',
  );
  assert.deepEqual(changed('busy'), [
    'C /bin',
    'D /bin/vi',
    'C /etc',
    'D /etc/group',
    'C /etc/passwd',
    'A /new',
    'A /new/file',
    'C /root',
    'A /root/a',
    'A /root/a/b',
    'A /root/a/b/c',
  ]);
});

test('diff of a running container, and of a directory that is made anew', () => {
  host.runDetached(['--name', 'box'], 'sleep', '1000');
  host.ok(
    ...['exec', 'box', 'sh', '-c'],
    'cp /bin/busybox /tmp/busybox && /tmp/busybox rm -r /bin && /tmp/busybox mkdir /bin && /tmp/busybox cp /tmp/busybox /bin/ls && /tmp/busybox touch /bin/own',
  );
  assert.deepEqual(
    changed('box').filter((line) => /^. .bin(.vi|.ls|.own|.cat)?$/.test(line)),
    ['C /bin', 'D /bin/cat', 'C /bin/ls', 'A /bin/own', 'D /bin/vi'],
  );
  host.fails(1, /[Nn]o such container/, 'diff', 'nosuch');
});

test('export sends the whole root file system, without volumes, of a container that runs or does not', async () => {
  host.runDetached(['--name', 'box', '-v', 'data:/data'], 'sleep', '1000');
  host.ok(
    'exec',
    'box',
    'sh',
    '-c',
    'echo -n mine > /own; rm /etc/group; echo x > /data/in-volume; ln /own /zz-hard',
  );
  for (const state of ['running', 'stopped']) {
    if (state === 'stopped') host.ok('stop', '-t', '0', 'box');
    const { status, stdout } = host.binary('export', 'box');
    assert.equal(status, 0);
    const entries = new Map((await listing(stdout)).map((entry) => [entry.header.name, entry]));
    assert.equal(entries.get('own')?.content, 'mine', state);
    assert.equal(entries.get('zz-hard')?.header.type, 'link');
    assert.equal(entries.get('etc/passwd')?.header.type, 'file');
    assert.equal(entries.has('etc/group'), false);
    assert.equal(entries.has('data/'), true);
    assert.equal(entries.has('data/in-volume'), false);
    assert.equal(entries.get('bin/')?.header.type, 'directory');
  }
  const file = `${host.directory}/exported.tar`;
  host.ok('export', '-o', file, 'box');
  host.ok('import', '-c', 'CMD ["cat", "/own"]', file, 'again');
  assert.equal(host.ok('run', '--rm', 'again'), 'mine');
});

test('commit makes an image of what a container wrote and removed', () => {
  host.ok(
    ...['run', '--name', 'box', '-e', 'KEPT=yes', '-w', '/root', '-u', '0:0', 'bb', 'sh', '-c'],
    'echo new > /new; rm /etc/group; rm -r /home; mkdir /home; echo x > /home/only; ln /new /linked; mkfifo /pipe; chown 12:34 /new',
  );
  const id = host.ok(
    ...[
      'commit',
      '-a',
      'A U Thor',
      '-m',
      'what it does',
      '-c',
      'CMD ["cat", "/new"]',
      '-c',
      'ENV ADDED="a b"',
    ],
    ...['-c', 'EXPOSE 80', '-c', 'LABEL one=1', 'box', 'made:latest'],
  );
  assert.match(id, /^sha256:[0-9a-f]{64}$/);
  assert.equal(host.ok('run', '--rm', 'made'), 'new');
  assert.equal(
    run(
      'made',
      'ls /etc/group 2>/dev/null; ls /home; stat -c "%u:%g %h" /linked; test -p /pipe && echo fifo; pwd; echo $KEPT $ADDED',
    ),
    'only\n12:34 2\nfifo\n/root\nyes a b',
  );
  const inspect = (format: string): string => host.ok('image', 'inspect', '-f', format, 'made');
  assert.equal(inspect('{{.Author}}|{{.Comment}}'), 'A U Thor|what it does');
  assert.equal(inspect('{{json .Config.ExposedPorts}} {{json .Config.Labels}}'), '{"80/tcp":{}} {"one":"1"}');
  assert.equal(inspect('{{.Config.User}}'), '0:0');
  const below = Number(host.ok('image', 'inspect', '-f', '{{len .RootFS.Layers}}', 'bb'));
  assert.equal(Number(inspect('{{len .RootFS.Layers}}')), below + 1);
  const [newest = ''] = host
    .ok('history', '--no-trunc', '--format', '{{.CreatedBy}}|{{.Comment}}|{{.Size}}', 'made')
    .split('\n');
  assert.match(newest, /^sh -c echo new > \/new;.*\|what it does\|[1-9]/);
  assert.deepEqual(changed('box').length > 0, true);
});

test('an image of a container that wrote nothing has no layer of its own', () => {
  host.ok('create', '--name', 'box', 'bb', 'true');
  host.ok('commit', 'box', 'made');
  const layers = (name: string): string => host.ok('image', 'inspect', '-f', '{{json .RootFS.Layers}}', name);
  assert.equal(layers('made'), layers('bb'));
  assert.equal(host.ok('image', 'inspect', '-f', '{{json .Config.Cmd}}', 'made'), '["true"]');
  assert.equal(host.ok('history', '--format', '{{.Size}}', 'made').split('\n')[0], '0B');
});

test('a running container stands still while it is committed, unless that is not wanted', () => {
  host.runDetached(['--name', 'box'], 'sh', '-c', 'echo x > /file; exec sleep 1000');
  const actions = (): string =>
    host.ok(
      ...['events', '--since', '0', '--until', String(Math.floor(Date.now() / 1000) + 1)],
      ...['--filter', 'container=box', '--format', '{{.Action}}'],
    );
  host.ok('commit', '--pause=false', 'box', 'made');
  assert.doesNotMatch(actions(), /pause/);
  host.ok('commit', 'box', 'made:two');
  assert.match(actions(), /^pause\n(unpause\ncommit|commit\nunpause)$/m);
  assert.equal(host.inspect('box', '{{.State.Status}}'), 'running');
  assert.equal(run('made', 'cat /file'), 'x');
  host.ok('pause', 'box');
  host.ok('commit', 'box', 'made');
  assert.equal(host.inspect('box', '{{.State.Status}}'), 'paused');
});

test('an image without a name, commits on commits, and what is refused', () => {
  host.ok('run', '--name', 'one', 'bb', 'sh', '-c', 'echo 1 > /one; echo 1 > /both');
  const first = host.ok('commit', 'one');
  assert.equal(host.ok('image', 'inspect', '-f', '{{json .RepoTags}}', first), '[]');
  host.ok('run', '--name', 'two', first, 'sh', '-c', 'rm /one; echo 2 > /both');
  host.ok('commit', 'two', 'made');
  assert.equal(run('made', 'ls /one 2>/dev/null; cat /both'), '2');
  host.fails(1, /[Nn]o such container/, 'commit', 'nosuch', 'made');
  host.fails(1, /RUN is not a valid change command/i, 'commit', '-c', 'RUN true', 'one');
  host.fails(1, /invalid reference format/, 'commit', 'one', 'UPPER');
  host.ok('rm', 'one', 'two');
  host.ok('rmi', 'made');
});

test('a committed image is saved and loaded as it is', () => {
  host.ok('run', '--name', 'box', 'bb', 'sh', '-c', 'echo x > /file; rm /etc/group');
  const id = host.ok('commit', 'box', 'made');
  const file = `${host.directory}/saved.tar`;
  host.ok('save', '-o', file, 'made');
  host.ok('rm', 'box');
  host.ok('rmi', 'made');
  host.ok('load', '-i', file);
  assert.equal(host.ok('image', 'inspect', '-f', '{{.Id}}', 'made'), id);
  assert.equal(run('made', 'cat /file; ls /etc/group 2>/dev/null || echo gone'), 'x\ngone');
});
