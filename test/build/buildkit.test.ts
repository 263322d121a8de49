import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { BuildProject } from '../support/build-project.ts';
import { hostOfFile, type Result } from '../support/docker-host.ts';

/** Debian's docker CLI, which has BuildKit's client in it. */
const DOCKER = join(import.meta.dirname, '../../.cache/peers/docker.io/usr/bin/docker');

const host = await hostOfFile();
const data = join(host.daemon.directory, 'data');

/** Every build, whatever became of it, leaves nothing but what it made. */
afterEach(() => {
  assert.deepEqual(readdirSync(join(data, 'builds')), []);
  assert.deepEqual(readdirSync(join(host.daemon.directory, 'exec', 'builds')), []);
});

interface Options {
  env?: Record<string, string>;
  input?: string | Buffer;
}

/** `docker build` by BuildKit's protocol. */
function build(path: string, argv: readonly string[], o: Options = {}): Result {
  return spawnSync(DOCKER, ['-H', `unix://${host.socket}`, 'build', '--progress=plain', ...argv], {
    cwd: path,
    encoding: 'utf8',
    timeout: 100_000,
    input: o.input ?? '',
    env: { ...process.env, DOCKER_BUILDKIT: '1', ...o.env },
  });
}

function built(path: string, argv: readonly string[], o: Options = {}): string {
  const done = build(path, argv, o);
  assert.equal(done.status, 0, done.stderr);
  return done.stderr;
}

test('files of the client come with their modes and links, and what is ignored stays away', () => {
  const project = new BuildProject(host, {
    'src/program': '#!/bin/sh\necho ran\n',
    'src/empty': '',
    'src/deep/er/file': 'deep\n',
    'node_modules/big': 'x'.repeat(100_000),
    '.dockerignore': 'node_modules\n*.secret\n',
    'a.secret': 'hidden\n',
    Dockerfile: `FROM bb
COPY . /ctx/
RUN cd /ctx && /ctx/src/program > /ran && find . | sort > /list && stat -c '%a %u %n' src/program src > /modes
RUN readlink /ctx/src/link > /link && stat -c %h /ctx/src/hard > /links
`,
  });
  chmodSync(join(project.path, 'src/program'), 0o755);
  chmodSync(join(project.path, 'src'), 0o750);
  symlinkSync('deep/er/file', join(project.path, 'src/link'));
  linkSync(join(project.path, 'src/program'), join(project.path, 'src/hard'));
  const first = built(project.path, ['-t', 'kit', '.']);
  assert.match(first, /COPY \. \/ctx\//);
  const shown = host.ok('run', '--rm', 'kit', 'cat', '/ran', '/list', '/modes', '/link', '/links');
  assert.equal(
    shown,
    [
      'ran',
      ...[
        '.',
        './.dockerignore',
        './Dockerfile',
        './src',
        './src/deep',
        './src/deep/er',
        './src/deep/er/file',
      ],
      ...['./src/empty', './src/hard', './src/link', './src/program'],
      ...['755 0 src/program', '750 0 src', 'deep/er/file', '2'],
    ].join('\n'),
  );
  assert.doesNotMatch(built(project.path, ['-t', 'kit', '.']), /DONE .*\n.*COPY/);
});

test('a changed file is a change, a removed one is gone, and the rest stays cached', () => {
  const project = new BuildProject(host, {
    'one/file': '1\n',
    'two/file': '2\n',
    'two/other': 'other\n',
    Dockerfile: 'FROM bb\nCOPY one /one\nCOPY two /two\n',
  });
  built(project.path, ['-t', 'kit2', '.']);
  writeFileSync(join(project.path, 'two/file'), '3\n');
  rmSync(join(project.path, 'two/other'));
  const again = built(project.path, ['-t', 'kit2', '.']);
  const [, step = ''] = /^#(\d+) \[stage-0 2\/3\]/m.exec(again) ?? [];
  assert.match(again, new RegExp(`^#${step} CACHED`, 'm'));
  assert.equal(host.ok('run', '--rm', 'kit2', 'sh', '-c', 'cat /one/* /two/*; ls /two'), '1\n3\nfile');
  // a directory in the place of a file, and the other way round
  rmSync(join(project.path, 'one/file'));
  mkdirSync(join(project.path, 'one/file'));
  writeFileSync(join(project.path, 'one/file/in'), 'in\n');
  rmSync(join(project.path, 'two'), { recursive: true });
  writeFileSync(join(project.path, 'two'), 'no directory\n');
  built(project.path, ['-t', 'kit2', '.']);
  assert.equal(host.ok('run', '--rm', 'kit2', 'cat', '/one/file/in', '/two'), 'in\nno directory');
});

test('secrets come from the client when a step asks for them, and stay nowhere', () => {
  const project = new BuildProject(host, {
    Dockerfile: `FROM bb
RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /count
RUN --mount=type=secret,id=other test ! -e /run/secrets/other
`,
  });
  const token = join(host.directory, 'session-token');
  writeFileSync(token, 'session-s3cret-token');
  built(project.path, ['--secret', `id=token,src=${token}`, '-t', 'kit3', '.']);
  assert.equal(host.ok('run', '--rm', 'kit3', 'cat', '/count'), '20');
  const found = spawnSync('grep', ['-rlF', 'session-s3cret-token', data], { encoding: 'utf8' });
  assert.equal(found.stdout, '');
  assert.doesNotMatch(host.daemon.log, /session-s3cret/);
  project.write('Dockerfile', 'FROM bb\nRUN --mount=type=secret,id=nope,required true\n');
  const refused = build(project.path, ['.']);
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /Dockerfile:2:1: secret nope: not found/);
});

test('an ssh agent of the client answers a step', async () => {
  const project = new BuildProject(host, {
    Dockerfile: `FROM bb
RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && stat -c %a $SSH_AUTH_SOCK > /mode
RUN test ! -e /run/buildkit/ssh_agent.0
`,
  });
  await using agent = createServer((socket) => socket.end()).listen(join(host.directory, 'agent'));
  await once(agent, 'listening');
  const env = { SSH_AUTH_SOCK: join(host.directory, 'agent') };
  const child = spawn(
    DOCKER,
    ['-H', `unix://${host.socket}`, 'build', '--ssh', 'default', '-t', 'kit4', '.'],
    {
      cwd: project.path,
      env: { ...process.env, DOCKER_BUILDKIT: '1', ...env },
      stdio: 'ignore',
    },
  );
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  assert.equal(host.ok('run', '--rm', 'kit4', 'cat', '/mode'), '600');
});

test('results as a directory and as an archive of the client’s', () => {
  const project = new BuildProject(host, {
    file: 'content\n',
    Dockerfile:
      'FROM bb AS made\nRUN mkdir -p /out/sub && echo made > /out/sub/f && ln -s f /out/sub/l && chmod 4711 /out/sub/f\nFROM scratch\nCOPY file /\nCOPY --from=made /out /\n',
  });
  built(project.path, ['-o', 'result', '.']);
  const result = join(project.path, 'result');
  assert.deepEqual(readdirSync(result).sort(), ['file', 'sub']);
  assert.equal(readFileSync(join(result, 'sub/l'), 'utf8'), 'made\n');
  assert.equal(statSync(join(result, 'sub/f')).mode & 0o7777, 0o4711);
  built(project.path, ['-o', 'type=tar,dest=result.tar', '.']);
  const names = execFileSync('tar', ['-tf', join(project.path, 'result.tar')], { encoding: 'utf8' });
  assert.match(names, /sub\/f/);
  const refused = build(project.path, ['-o', 'type=oci,dest=x', '.']);
  assert.match(refused.stderr, /the output oci is not supported/);
});

test('a Dockerfile, or the whole context, on standard input', () => {
  const project = new BuildProject(host, { file: 'here\n', Dockerfile: 'FROM bb\nCOPY file /whole\n' });
  built(project.path, ['-t', 'kit5', '-f', '-', '.'], { input: 'FROM bb\nCOPY file /piped\n' });
  assert.equal(host.ok('run', '--rm', 'kit5', 'cat', '/piped'), 'here');
  const archive = execFileSync('tar', ['-C', project.path, '-c', '.']);
  built(project.path, ['-t', 'kit6', '-'], { input: archive });
  assert.equal(host.ok('run', '--rm', 'kit6', 'cat', '/whole'), 'here');
});

test('what fails shows its place and what the step said', () => {
  const project = new BuildProject(host, { Dockerfile: 'FROM bb\nRUN echo before the end && exit 3\n' });
  const failed = build(project.path, ['.']);
  assert.notEqual(failed.status, 0);
  assert.match(failed.stderr, /before the end/);
  assert.match(failed.stderr, /Dockerfile:2:1: The command .* returned a non-zero code: 3/);
  const missing = build(project.path, ['-f', 'nope', '.']);
  assert.match(missing.stderr, /nope/);
  assert.notEqual(missing.status, 0);
});

test('pruning forgets the client’s files', () => {
  const project = new BuildProject(host, { file: 'x', Dockerfile: 'FROM bb\nCOPY file /\n' });
  built(project.path, ['.']);
  const kept = join(data, 'build-contexts');
  assert.ok(existsSync(kept) && readdirSync(kept).length > 0);
  host.ok('builder', 'prune', '-af');
  assert.deepEqual(readdirSync(kept), []);
  built(project.path, ['.']);
});
