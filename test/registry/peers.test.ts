import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BuildProject } from '../support/build-project.ts';
import { DockerHost, eventually } from '../support/docker-host.ts';
import { RegistryProcess } from '../support/registry-process.ts';

/** Other people's programs as the other end: Debian's skopeo, buildah and docker-registry. */
const host = await DockerHost.open();
const ours = await RegistryProcess.start();
const theirs = await debianRegistry();
const directory = mkdtempSync(join(tmpdir(), 'drover-peers-'));
after(async () => {
  await theirs.stop();
  await ours[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function debianRegistry(): Promise<{ host: string; stop: () => Promise<void> }> {
  const root = mkdtempSync(join(tmpdir(), 'drover-distribution-'));
  const port = 20_000 + (process.pid % 20_000);
  writeFileSync(
    join(root, 'config.yml'),
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: true}}\nhttp: {addr: '127.0.0.1:${port}'}\n`,
  );
  const child: ChildProcess = spawn('docker-registry', ['serve', join(root, 'config.yml')], {
    stdio: 'ignore',
  });
  await eventually(() => answers(port), 'docker-registry listens');
  return {
    host: `127.0.0.1:${port}`,
    stop: async () => {
      child.kill('SIGTERM');
      await once(child, 'exit');
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  }).then((answer) => {
    socket.destroy();
    return answer === true;
  });
}

function run(program: string, ...args: string[]): string {
  const storage = join(directory, 'storage');
  mkdirSync(storage, { recursive: true });
  const done = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, TMPDIR: directory },
  });
  assert.equal(done.status, 0, `${program} ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
}

const skopeo = (...args: string[]): string => run('skopeo', '--insecure-policy', ...args);
const copy = (from: string, to: string, ...flags: string[]): string =>
  skopeo('copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...flags, from, to);
const digestOfTag = (name: string): string =>
  skopeo('inspect', '--tls-verify=false', '--format', '{{.Digest}}', `docker://${name}`);
const buildah = (...args: string[]): string =>
  run(
    'buildah',
    '--root',
    join(directory, 'storage'),
    '--runroot',
    join(directory, 'run'),
    '--storage-driver',
    'vfs',
    ...args,
  );

test('images of 1 to 100 layers, through every pair of registries and clients', () => {
  for (const count of [1, 2, 20, 100]) {
    const layers = Array.from({ length: count - 1 }, (_, index) => `COPY --link f /layer/${index}/`).join(
      '\n',
    );
    const project = new BuildProject(host, { f: `${count}`, Dockerfile: `FROM bb\n${layers}\n` });
    const name = `app:${count}`;
    const id = project.build('-t', `${ours.host}/${name}`);
    host.ok('push', `${ours.host}/${name}`);
    const digest = digestOfTag(`${ours.host}/${name}`);
    // Ours to theirs by skopeo, theirs to us by our own client: the digest stays.
    copy(`docker://${ours.host}/${name}`, `docker://${theirs.host}/${name}`);
    assert.equal(digestOfTag(`${theirs.host}/${name}`), digest);
    host.ok('rmi', '-f', id);
    host.ok('builder', 'prune', '-af');
    assert.match(host.ok('pull', `${theirs.host}/${name}`), new RegExp(digest));
    assert.equal(host.ok('image', 'inspect', '-f', '{{.Id}}', `${theirs.host}/${name}`), id);
    assert.equal(host.ok('image', 'inspect', '-f', '{{len .RootFS.Layers}}', id), String(count));
    // And back to them by our own client, under another name.
    host.ok('tag', id, `${theirs.host}/again/${name}`);
    host.ok('push', `${theirs.host}/again/${name}`);
    assert.equal(digestOfTag(`${theirs.host}/again/${name}`), digest);
    if (count > 1) assert.equal(host.ok('run', '--rm', id, 'cat', `/layer/${count - 2}/f`), `${count}`);
    host.ok('rmi', '-f', id);
    host.ok('import', join(import.meta.dirname, '../../.cache/busybox.tar'), 'bb');
  }
});

test('skopeo: Docker manifests, zstd layers, indexes, lists and deletes', () => {
  host.ok('tag', 'bb', `${ours.host}/formats:oci`);
  host.ok('push', `${ours.host}/formats:oci`);
  copy(`docker://${ours.host}/formats:oci`, `docker://${ours.host}/formats:docker`, '--format', 'v2s2');
  const plain = new BuildProject(host, { f: 'zstd', Dockerfile: 'FROM bb\nCOPY f /f\n' });
  plain.build('-o', 'type=oci,dest=plain.tar');
  const zstd = ['--dest-compress-format', 'zstd', '--format', 'oci'];
  copy(`oci-archive:${join(plain.path, 'plain.tar')}`, `docker://${ours.host}/formats:zstd`, ...zstd);
  const raw = skopeo('inspect', '--raw', '--tls-verify=false', `docker://${ours.host}/formats:zstd`);
  assert.match(raw, /tar\+zstd/);
  for (const tag of ['docker', 'zstd']) {
    const name = `${ours.host}/formats:${tag}`;
    host.ok('pull', name);
    assert.equal(host.ok('run', '--rm', name, 'echo', tag), tag);
  }
  copy(`docker://${ours.host}/formats:oci`, `dir:${join(directory, 'dir')}`);
  copy(`dir:${join(directory, 'dir')}`, `docker://${ours.host}/formats:dir`);
  assert.equal(digestOfTag(`${ours.host}/formats:dir`), digestOfTag(`${ours.host}/formats:oci`));
  const list = (): string[] =>
    JSON.parse(skopeo('list-tags', '--tls-verify=false', `docker://${ours.host}/formats`)).Tags;
  assert.deepEqual(list(), ['dir', 'docker', 'oci', 'zstd']);
  skopeo('delete', '--tls-verify=false', `docker://${ours.host}/formats:zstd`);
  assert.deepEqual(list(), ['dir', 'docker', 'oci']);
  host.ok('save', '-o', join(directory, 'save.tar'), `${ours.host}/formats:docker`);
  for (const kind of ['docker-archive', 'oci-archive'])
    assert.match(skopeo('inspect', `${kind}:${join(directory, 'save.tar')}`), /"Architecture": "amd64"/);
});

test('buildah: what it pushes we run, what we push it pulls', () => {
  host.ok('tag', 'bb', `${ours.host}/ours:1`);
  host.ok('push', `${ours.host}/ours:1`);
  const container = buildah('from', '--tls-verify=false', `${ours.host}/ours:1`);
  writeFileSync(join(directory, 'added'), 'by buildah');
  buildah('copy', container, join(directory, 'added'), '/added');
  buildah('config', '--cmd', 'cat /added', container);
  buildah('commit', '--quiet', container, 'theirs');
  buildah('push', '--quiet', '--tls-verify=false', 'theirs', `docker://${ours.host}/theirs:1`);
  host.ok('pull', `${ours.host}/theirs:1`);
  assert.equal(host.ok('run', '--rm', `${ours.host}/theirs:1`), 'by buildah');
  buildah('rm', '--all');
  buildah('rmi', '--all', '--force');
});
