import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listAttributes } from '#linux/extended-attributes.ts';
import { ApiDaemon, DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, referenceSocket } from '../support/docker-host.ts';

/** What an engine puts there itself. */
const OWN = /^(dev|proc|sys|etc\/(hosts|hostname|resolv\.conf|mtab)|\.dockerenv|run)(\/|$)/;

const DOCKERFILE = `FROM bb
RUN mkdir -p /modes /owners /links /gone/deep /opaque/old /changed && \\
  for m in 0400 0644 1755 2755 4711 6777; do echo $m > /modes/$m; chmod $m /modes/$m; done && \\
  mkdir -m 1777 /modes/sticky && mkdir -m 2750 /modes/setgid && \\
  echo o > /owners/a && chown 1000:2000 /owners/a && chown 65534 /owners && \\
  echo l > /links/file && ln /links/file /links/hard && ln -s file /links/soft && ln -s /nowhere /links/dangling && ln -s ../modes /links/up && \\
  echo 1 > /gone/file && echo 2 > /gone/deep/file && echo 3 > /opaque/old/file && echo 4 > /opaque/stays-not && \\
  echo 5 > /changed/to-directory && mkdir /changed/to-file
RUN truncate -s 3000000 /sparse && echo end >> /sparse && mknod /fifo p && mknod /char c 1 3 && mknod /block b 7 200 && chmod 640 /char
RUN name=$(printf '%0200d' 7) && mkdir -p /long/$name/$name && echo deep > /long/$name/$name/$name && echo ü > "/long/ünïcödé with blanks"
RUN rm /gone/file && rm -r /gone/deep && rm -r /opaque && mkdir /opaque && echo new > /opaque/new && chmod 711 /modes && touch /modes/0644
RUN rm /changed/to-directory && mkdir /changed/to-directory && rmdir /changed/to-file && echo f > /changed/to-file && mv /links/hard /links/moved
COPY --chown=12:34 tree /copied
COPY file /copied/over
ADD archive.tar /added/
`;

interface Entry {
  mode: string;
  owner: string;
  size: number;
  content: string;
  attributes: string[];
  links: number;
}

/** Everything in an archive of a root file system. */
function listing(archive: Buffer): Record<string, Entry> {
  const root = mkdtempSync(join(tmpdir(), 'drover-fidelity-'));
  try {
    execFileSync('tar', ['-x', '--numeric-owner', '--xattrs', '--xattrs-include=*', '-p', '-C', root], {
      input: archive,
    });
    const found: Record<string, Entry> = {};
    const visit = (path: string): void => {
      for (const name of readdirSync(join(root, path)).sort()) {
        const below = path === '' ? name : `${path}/${name}`;
        if (OWN.test(below)) continue;
        const file = join(root, below);
        const stats = lstatSync(file);
        found[below] = {
          mode: stats.mode.toString(8),
          owner: `${stats.uid}:${stats.gid}`,
          size: stats.isFile() ? stats.size : 0,
          content: contentOf(file, stats),
          attributes: listAttributes(file).map(
            ({ name: key, value }) => `${key}=${Buffer.from(value).toString('hex')}`,
          ),
          links: stats.isFile() ? stats.nlink : 0,
        };
        if (stats.isDirectory()) visit(below);
      }
    };
    visit('');
    return found;
  } finally {
    rmSync(root, { recursive: true });
  }
}

function contentOf(file: string, stats: ReturnType<typeof lstatSync>): string {
  if (stats?.isSymbolicLink() === true) return readlinkSync(file);
  if (stats?.isFile() === true) return createHash('sha256').update(readFileSync(file)).digest('hex');
  return stats?.isCharacterDevice() === true || stats?.isBlockDevice() === true ? String(stats.rdev) : '';
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Buffer {
  const done = spawnSync(program, [...args], { maxBuffer: 256 << 20, env, timeout: 100_000 });
  assert.equal(done.status, 0, `${program} ${args.join(' ')}: ${done.stderr}`);
  return done.stdout;
}

test('the same Dockerfile gives the same files as under dockerd and buildah, also after a push, a pull, a save and a load', async () => {
  const work = mkdtempSync(join(tmpdir(), 'drover-fidelity-'));
  const context = join(work, 'context');
  mkdirSync(join(context, 'tree', 'sub'), { recursive: true });
  writeFileSync(join(context, 'Dockerfile'), DOCKERFILE);
  writeFileSync(join(context, 'file'), 'over');
  writeFileSync(join(context, 'tree', 'sub', 'exec'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(context, 'tree', 'plain'), 'plain', { mode: 0o600 });
  mkdirSync(join(work, 'archive'));
  writeFileSync(join(work, 'archive', 'capable'), 'x', { mode: 0o755 });
  execFileSync('setcap', ['cap_net_raw,cap_setuid+ep', join(work, 'archive', 'capable')]);
  execFileSync('tar', [
    '--xattrs',
    '--xattrs-include=*',
    '--owner=7',
    '--group=8',
    '-cf',
    join(context, 'archive.tar'),
    '-C',
    join(work, 'archive'),
    'capable',
  ]);

  const docker = (socket: string, ...args: string[]): Buffer =>
    run('docker', ['-H', `unix://${socket}`, ...args], { ...process.env, DOCKER_BUILDKIT: '0' });
  const reference = referenceSocket() ?? '';
  docker(reference, 'import', BUSYBOX, 'bb');
  docker(reference, 'build', '-q', '-t', 'fidelity', context);
  const container = String(docker(reference, 'create', 'fidelity', 'true')).trim();
  const theirs = listing(docker(reference, 'export', container));
  docker(reference, 'rm', container);
  assert.ok(Object.keys(theirs).length > 40);

  await using daemon = await ApiDaemon.start(undefined, ['--registry-addr', '127.0.0.1:5088']);
  docker(daemon.socket, 'import', BUSYBOX, 'bb');
  const name = '127.0.0.1:5088/fidelity:1';
  docker(daemon.socket, 'build', '-q', '-t', name, context);
  const files = (): Record<string, Entry> => {
    writeFileSync(join(work, 'Dockerfile'), `FROM ${name}\n`);
    return listing(run(DROVER, ['-H', `unix://${daemon.socket}`, 'build', '-q', '-o', '-', work]));
  };
  assert.deepEqual(files(), theirs);

  // There and back: what comes is what went.
  const id = String(docker(daemon.socket, 'image', 'inspect', '-f', '{{.Id}}', name));
  docker(daemon.socket, 'push', name);
  docker(daemon.socket, 'save', '-o', join(work, 'saved.tar'), name);
  const gone = (): void => {
    docker(daemon.socket, 'rmi', '-f', name);
    docker(daemon.socket, 'builder', 'prune', '-af');
  };
  gone();
  docker(daemon.socket, 'pull', name);
  assert.deepEqual(files(), theirs);
  gone();
  docker(daemon.socket, 'load', '-i', join(work, 'saved.tar'));
  assert.equal(String(docker(daemon.socket, 'image', 'inspect', '-f', '{{.Id}}', name)), id);
  assert.deepEqual(files(), theirs);

  // dockerd takes what we saved, and gives the same again.
  docker(reference, 'load', '-i', join(work, 'saved.tar'));
  const loaded = String(docker(reference, 'create', name, 'true')).trim();
  assert.deepEqual(listing(docker(reference, 'export', loaded)), theirs);
  docker(reference, 'rm', loaded);
  docker(reference, 'rmi', name, 'fidelity');

  if (spawnSync('buildah', ['--version']).status === 0) {
    const storage = [
      '--root',
      join(work, 'storage'),
      '--runroot',
      join(work, 'run'),
      '--storage-driver',
      'vfs',
    ];
    run('buildah', [...storage, 'pull', '-q', `docker-archive:${join(work, 'saved.tar')}`]);
    const from = String(run('buildah', [...storage, 'from', '--pull-never', name])).trim();
    const mounted = String(run('buildah', [...storage, 'mount', from])).trim();
    const archive = run('tar', [
      '-c',
      '--numeric-owner',
      '--xattrs',
      '--xattrs-include=security.capability',
      '-C',
      mounted,
      '.',
    ]);
    assert.deepEqual(listing(archive), theirs);
    run('buildah', [...storage, 'rm', '--all']);
    run('buildah', [...storage, 'rmi', '--all', '--force']);
  }
  rmSync(work, { recursive: true, force: true });
});
