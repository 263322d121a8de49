import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { DROVER } from '../support/api-daemon.ts';
import { BuildProject } from '../support/build-project.ts';
import { eventually, hostOfFile } from '../support/docker-host.ts';
import { HostileRegistry } from '../support/hostile-registry.ts';

const host = await hostOfFile();
const data = join(host.daemon.directory, 'data');

/** Every build, whatever became of it, leaves nothing but what it made. */
afterEach(() => {
  assert.deepEqual(readdirSync(join(data, 'builds')), []);
  assert.deepEqual(readdirSync(join(host.daemon.directory, 'exec', 'builds')), []);
});

/** Files of the daemon, but for those of cache mounts, that hold a text. */
function filesWith(text: string): string {
  const places = [data, join(host.daemon.directory, 'exec')];
  return spawnSync('grep', ['-rlF', '--exclude-dir=cache-mounts', text, ...places], { encoding: 'utf8' })
    .stdout;
}

function steps(log: string): { done: number; cached: number } {
  return {
    done: log.match(/^#\d+ DONE/gm)?.length ?? 0,
    cached: log.match(/^#\d+ CACHED/gm)?.length ?? 0,
  };
}

test('secrets: as files and variables, in no layer, history, record or cache', () => {
  const project = new BuildProject(host, {
    token: 'very-s3cret-token',
    '.dockerignore': 'token',
    Dockerfile: `FROM bb
RUN --mount=type=secret,id=token,mode=0444,uid=7 stat -c '%u %a' /run/secrets/token > /stat
RUN --mount=type=secret,id=token,target=/tok/en wc -c < /tok/en > /count
RUN --mount=type=secret,id=token,env=TOKEN [ $(echo -n $TOKEN | wc -c) = 17 ]
RUN --mount=type=secret,id=other test ! -e /run/secrets/other
RUN ls -a / > /ls
`,
  });
  const flags = ['--secret', 'id=token,src=token', '-t', 'secretive'];
  assert.equal(project.run(flags, 'cat', '/stat', '/count'), '7 444\n17');
  assert.doesNotMatch(host.ok('run', '--rm', 'secretive', 'cat', '/ls'), /^(tok|run)$/m);
  const told = host.ok('history', '--no-trunc', 'secretive') + host.ok('image', 'inspect', 'secretive');
  assert.doesNotMatch(told + host.daemon.log, /s3cret-token/);
  assert.equal(filesWith('very-s3cret-token'), '');
  project.write('Dockerfile', 'FROM bb\nRUN --mount=type=secret,id=nope,required true\n');
  project.fails(/Dockerfile:2:1: secret nope: not found/);
});

test('cache mounts: shared by builds, not part of the image; tmpfs and bind mounts', () => {
  const project = new BuildProject(host, {
    file: 'in the context\n',
    Dockerfile: `FROM bb AS other
RUN echo from-other > /o
FROM bb
ARG N
RUN --mount=type=cache,target=/cache,id=mine echo $N >> /cache/log && cp /cache/log /log
RUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/x && df /t | tail -1 > /df
RUN --mount=type=bind,target=/ctx cat /ctx/file > /bound; ! touch /ctx/new
RUN --mount=type=bind,from=other,source=/o,target=/o2 cat /o2 >> /bound
RUN --mount=type=bind,target=/ctx,rw echo changed > /ctx/file
`,
  });
  project.build('--build-arg', 'N=1');
  const id = project.build('--build-arg', 'N=2');
  assert.equal(host.ok('run', '--rm', id, 'cat', '/log', '/bound'), '1\n2\nin the context\nfrom-other');
  assert.equal(host.docker('run', '--rm', id, 'ls', '/cache', '/t', '/ctx', '/o2').stdout, '');
  assert.match(host.ok('run', '--rm', id, 'cat', '/df'), / 1024 /);
  assert.equal(readFileSync(join(project.path, 'file'), 'utf8'), 'in the context\n');
});

test('what a step puts in the place of a mount point is not followed out of its files', () => {
  const outside = mkdtempSync(join(host.directory, 'outside-'));
  mkdirSync(join(outside, 'empty'));
  const project = new BuildProject(host, {
    Dockerfile: `FROM bb
RUN --mount=type=tmpfs,target=/a/empty mv /a /b && ln -s ${outside} /a
`,
  });
  assert.equal(project.run([], 'readlink', '/a'), outside);
  assert.ok(existsSync(join(outside, 'empty')));
});

test('RUN: users, working directories, shells, exec form, heredocs, networks', () => {
  const project = new BuildProject(host, {
    Dockerfile: `FROM bb
RUN echo "web:x:1234:55::/home/web:/bin/sh" >> /etc/passwd && mkdir /w && chown 1234 /w
USER web
WORKDIR /w
RUN id -u > a && pwd >> a && echo "$HOME" >> a
USER root
RUN ["/bin/sh", "-c", "echo exec form > /b"]
SHELL ["/bin/sh", "-ec"]
RUN false || echo shell > /c
RUN <<EOF
echo heredoc > /d
exit 0
EOF
RUN <<EOF cat > /e
quoted "text"
EOF
RUN <<EOF
#!/bin/sh
echo "script $0" > /f
EOF
RUN --network=none ip -o link | wc -l > /g
`,
  });
  assert.equal(
    project.run([], 'cat', '/w/a', '/b', '/c', '/d', '/e', '/f', '/g'),
    '1234\n/w\n/home/web\nexec form\nshell\nheredoc\nquoted "text"\nscript /dev/pipes/EOF\n1',
  );
  project.write('Dockerfile', 'FROM bb\nRUN --security=insecure mount -t tmpfs x /tmp && echo ok\n');
  project.fails(/is not allowed; build with --allow security.insecure/);
  project.build('--allow', 'security.insecure');
  project.write('Dockerfile', 'FROM bb\nRUN --network=host true\n');
  project.fails(/--allow network.host/);
});

test('an ssh agent is there for the step that asks for it, with the mode asked for', async () => {
  const project = new BuildProject(host, {
    Dockerfile: `FROM bb
RUN test -z "$SSH_AUTH_SOCK" && mkdir /kept
RUN --mount=type=ssh,id=key,mode=0660,uid=1000,gid=100 stat -c '%a %u:%g %F' "$SSH_AUTH_SOCK" > /kept/agent
RUN --mount=type=ssh,id=key,target=/agent stat -c '%n %a %u:%g %F' "$SSH_AUTH_SOCK" >> /kept/agent
`,
  });
  const agent = join(host.directory, 'agent.sock');
  await using server = createServer().listen(agent);
  await once(server, 'listening');
  assert.equal(
    project.run(['--ssh', `key=${agent}`], 'cat', '/kept/agent'),
    '660 1000:100 socket\n/agent 600 0:0 socket',
  );
  project.write('Dockerfile', 'FROM bb\nRUN --mount=type=ssh,required=true true\n');
  project.fails(/ssh agent default is not given: build with --ssh default/);
  project.fails(/no agent's socket/, '--ssh', `default=${project.path}/Dockerfile`);
});

test('what fails shows its place, its output and its code, and leaves nothing', () => {
  const project = new BuildProject(host, {
    Dockerfile: 'FROM bb\nRUN echo before\nRUN echo why >&2 && exit 7\nRUN never\n',
  });
  const said = project.fails(
    /Dockerfile:3:1: The command '.*exit 7' returned a non-zero code: 7/,
    '--progress',
    'plain',
  );
  assert.match(said, /why\n/);
  assert.match(said, /> 3 \| RUN echo why/);
  for (const [dockerfile, message] of [
    ['FROM bb\nCOPY nope /x\n', /Dockerfile:2:1: "nope" is not there/],
    ['FROM bb\nCOPY --what=1 a b\n', /Dockerfile:2:1: unknown flag: --what of COPY/],
    ['FROM bb\nEXPOSE many\n', /Dockerfile:2:1: Invalid containerPort: many/],
    ['FROM bb\nUSER nobody-there\nRUN true\n', /Dockerfile:3:1: unable to find user nobody-there/],
    ['FROM bb\nENV x\n', /ENV must have two arguments/],
    ['FROM bb\nCMD ["a", "b"]\nSHELL sh -c\n', /Dockerfile:3:1: SHELL requires the arguments to be in JSON/],
    ['FROM bb\nHEALTHCHECK --interval=soon CMD true\n', /Dockerfile:2:1: --interval: invalid duration/],
    ['FROM bb\nCOPY a b c\n', /Dockerfile:2:1: When using COPY with more than one source file/],
    ['FROM bb\nCOPY Dockerfile /etc\nCOPY Dockerfile /etc/passwd/x\n', /Dockerfile:3:1: /],
  ] as const) {
    project.write('Dockerfile', dockerfile);
    project.fails(message);
  }
});

test('what has not changed is not done again, whatever the times say', () => {
  const project = new BuildProject(host, {
    'src/a': 'a',
    'src/b': 'b',
    Dockerfile: `FROM bb AS build
COPY src /src
RUN cat /src/* > /out; date +%N > /stamp
FROM bb AS final
COPY --from=build /out /out
RUN date +%N > /when
`,
  });
  const first = project.build();
  utimesSync(join(project.path, 'src/a'), 1, 1);
  project.write('src/b', 'b');
  assert.equal(project.build(), first);
  assert.deepEqual(steps(project.log()), { done: 1, cached: 6 });
  // The first stage is done again, but comes to the same: the second has nothing to do.
  project.write('src/c', '');
  const changed = project.log();
  assert.match(changed, /#(\d+) \[build 2\/3\] COPY[\s\S]*#\1 DONE/);
  assert.match(changed, /#(\d+) \[final 3\/3\] RUN[\s\S]*#\1 CACHED/);
  assert.notEqual(project.build('--no-cache'), first);
  const filtered = project.log('--no-cache-filter', 'final');
  assert.match(filtered, /#(\d+) \[build 3\/3\] RUN[\s\S]*#\1 CACHED/);
  assert.match(filtered, /#(\d+) \[final 3\/3\] RUN[\s\S]*#\1 DONE/);
});

test('an archive that comes again is known; one that differs in anything is not taken for it', () => {
  const project = new BuildProject(host, {
    'src/a': 'a',
    'src/left out': 'x',
    '.dockerignore': 'src/left*',
    Dockerfile: 'FROM bb\nCOPY src /src\nRUN date +%N > /when\n',
  });
  const packed = (): Buffer => execFileSync('tar', ['-C', project.path, '-c', '.'], { maxBuffer: 1 << 25 });
  const post = (archive: Buffer, ...flags: string[]): string => {
    const done = host.input(archive, 'build', '-q', ...flags, '-');
    assert.equal(done.status, 0, done.stderr);
    return done.stdout.trim();
  };
  const read = (image: string, ...argv: string[]): string => host.ok('run', '--rm', image, ...argv);
  const first = packed();
  const image = post(first);
  assert.equal(read(image, 'ls', '/src'), 'a');
  assert.equal(post(first), image);
  // what is known of it is not what it holds
  const again = post(first, '--no-cache');
  assert.notEqual(again, image);
  assert.equal(read(again, 'cat', '/src/a'), 'a');
  utimesSync(join(project.path, 'src/a'), 1, 1);
  assert.equal(post(packed()), again);
  project.write('src/a', 'b');
  assert.equal(read(post(packed()), 'cat', '/src/a'), 'b');
  project.write('.dockerignore', '');
  assert.equal(read(post(packed()), 'ls', '/src'), 'a\nleft out');
  project.write('Dockerfile', 'FROM bb\nCOPY src/a /only\n');
  assert.equal(read(post(packed()), 'cat', '/only'), 'b');
  // more than is held in memory
  project.write('src/a', 'large '.repeat(2_000_000));
  const large = packed();
  const ofLarge = post(large);
  assert.equal(read(ofLarge, 'tail', '-c', '6', '/only'), 'large');
  assert.equal(post(large), ofLarge);
  large[large.lastIndexOf('large')] = 0x4c;
  assert.equal(read(post(large), 'tail', '-c', '6', '/only'), 'Large');
});

test('files of a directory that are known by their times are not read again, and are when they change', async () => {
  const project = new BuildProject(host, {
    'src/a': 'a',
    'src/b': 'b',
    Dockerfile: 'FROM bb\nCOPY src /src\n',
  });
  const read = (image: string): string => host.ok('run', '--rm', image, 'cat', '/src/a', '/src/b');
  const isCached = /#(\d+) .*COPY src[\s\S]*#\1 CACHED/;
  // longer than their times are doubted
  const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2100));
  const first = project.build();
  await settled();
  for (let turn = 0; turn < 3; turn += 1) {
    assert.match(project.log(), isCached);
    assert.equal(project.build(), first);
  }
  project.write('src/b', 'B');
  await settled();
  assert.equal(read(project.build()), 'aB');
  project.write('src/b', 'b');
  assert.equal(project.build(), first);
});

test('a linked layer survives another base, and is the same one', () => {
  const project = new BuildProject(host, {
    f: 'x',
    Dockerfile: 'FROM bb\nARG V\nRUN echo $V > /v\nCOPY --link f /link\n',
  });
  const layers = (id: string): string[] =>
    JSON.parse(host.ok('image', 'inspect', '-f', '{{json .RootFS.Layers}}', id));
  const one = layers(project.build('--build-arg', 'V=1'));
  assert.match(project.log('--build-arg', 'V=2'), /#(\d+) .*COPY --link[\s\S]*#\1 CACHED/);
  const two = layers(project.build('--build-arg', 'V=2'));
  assert.equal(one.at(-1), two.at(-1));
  assert.notEqual(one.at(-2), two.at(-2));
});

test('stages that do not wait for each other run at once; what is not needed is not built', () => {
  const meet = (own: string, other: string): string =>
    `RUN --mount=type=cache,id=meet,target=/m touch /m/${own}; until [ -e /m/${other} ]; do sleep 0.05; done; echo ${own} > /${own}`;
  const project = new BuildProject(host, {
    Dockerfile: `FROM bb AS a
${meet('a', 'b')}
FROM bb AS b
${meet('b', 'a')}
FROM bb AS broken
RUN false
FROM bb
COPY --from=a /a /
COPY --from=b /b /
`,
  });
  assert.equal(project.run([], 'cat', '/a', '/b'), 'a\nb');
  project.fails(/returned a non-zero code: 1/, '--target', 'broken');
});

test('equal builds have equal digests, with SOURCE_DATE_EPOCH also when everything is done again', () => {
  const project = new BuildProject(host, {
    f: 'x',
    Dockerfile: 'FROM bb\nCOPY f /a/b\nRUN mkdir /c && echo d > /c/d\nWORKDIR /e/f\n',
  });
  const env = { SOURCE_DATE_EPOCH: '1000000000' };
  const one = project.buildWith(env, '--no-cache', '-t', 'same');
  assert.equal(host.ok('image', 'inspect', '-f', '{{.Created}}', 'same'), '2001-09-09T01:46:40.000Z');
  writeFileSync(join(project.path, 'f'), 'x');
  assert.equal(project.buildWith(env, '--no-cache'), one);
  const newer = ['find', '/a', '/c', '/e', '-mtime', '-3650'];
  assert.equal(project.run(['--build-arg', 'SOURCE_DATE_EPOCH=1000000000'], ...newer), '');
  host.ok('rmi', 'same');
});

test('outputs: archives that others read, a folder, a plain archive, files of digests', () => {
  const project = new BuildProject(host, {
    f: 'content',
    Dockerfile: 'FROM scratch\nCOPY --chmod=600 f /d/f\n',
  });
  const archives = ['-o', 'type=docker,dest=docker.tar', '-o', 'type=oci,dest=oci.tar', '-o', 'type=image'];
  const id = project.build('-t', 'out:1', ...archives, '--iidfile', 'iid', '--metadata-file', 'meta.json');
  assert.equal(readFileSync(join(project.path, 'iid'), 'utf8'), id);
  const metadata = JSON.parse(readFileSync(join(project.path, 'meta.json'), 'utf8'));
  assert.equal(metadata['containerimage.config.digest'], id);
  const list = (name: string): string =>
    execFileSync('tar', ['-tf', name], { cwd: project.path, encoding: 'utf8' });
  assert.match(list('oci.tar'), /^index\.json$/m);
  host.ok('rmi', 'out:1');
  host.ok('load', '-i', join(project.path, 'docker.tar'));
  assert.equal(host.ok('image', 'inspect', '-f', '{{.Id}}', 'out:1'), id);
  project.build('-o', 'folder');
  assert.equal(readFileSync(join(project.path, 'folder/d/f'), 'utf8'), 'content');
  project.build('-o', 'type=tar,dest=plain.tar');
  assert.equal(list('plain.tar'), 'd/\nd/f\n');
  host.ok('rmi', 'out:1');
});

test('a cache in a folder; one that is not there is passed over', () => {
  const project = new BuildProject(host, { Dockerfile: 'FROM bb\nRUN date +%N > /a\nRUN date +%N > /b\n' });
  project.build('--cache-to', 'type=local,dest=cache', '-t', 'cached:1');
  const stamp = host.ok('run', '--rm', 'cached:1', 'cat', '/a', '/b');
  host.ok('rmi', 'cached:1');
  host.ok('builder', 'prune', '-af');
  assert.equal(project.run(['--cache-from', 'type=local,src=cache'], 'cat', '/a', '/b'), stamp);
  host.ok('image', 'prune', '-f');
  host.ok('builder', 'prune', '-af');
  const log = project.log('--cache-from', 'type=local,src=nowhere');
  assert.match(log, /WARNING cache local .*nowhere is not used/);
  assert.equal(steps(log).done, 3);
});

test('builder prune: by age and size, and everything', () => {
  const project = new BuildProject(host, { Dockerfile: 'FROM bb\nRUN head -c 3000000 /dev/zero > /big\n' });
  project.build('-o', 'out');
  assert.equal(steps(project.log('-o', 'out')).cached, 2);
  host.ok('builder', 'prune', '-f', '--filter', 'until=1h');
  host.ok('builder', 'prune', '-f', '--keep-storage', '100MB');
  assert.equal(steps(project.log('-o', 'out')).cached, 2);
  assert.match(host.ok('builder', 'prune', '-af'), /Total reclaimed space: 3.*MB/);
  assert.equal(steps(project.log('-o', 'out')).cached, 1);
});

test('named contexts: a directory, an image, in place of a stage', () => {
  const project = new BuildProject(host, {
    'other/file': 'other',
    Dockerfile: 'FROM base-of-nowhere AS x\nFROM bb\nCOPY --from=files /file /f\nCOPY --from=x /bin/sh /sh\n',
  });
  const flags = ['--build-context', 'files=other', '--build-context', 'base-of-nowhere=docker-image://bb'];
  assert.equal(project.run(flags, 'cat', '/f'), 'other');
});

test('lineage: a committed image stands on the image of its container, and moves to the base as it is now', () => {
  const base = new BuildProject(host, { Dockerfile: 'FROM bb\nRUN echo 1 > /version\n' });
  base.build('-t', 'below');
  host.ok('run', '--name', 'box', 'below', 'sh', '-c', 'echo own > /own');
  host.ok('commit', '-c', 'CMD cat /version /own', 'box', 'above');
  host.ok('rm', 'box');
  assert.match(
    base.drover(['image', 'tree']).stdout,
    /[├└]─ below:latest.*\+1 layers\n.*└─ above:latest.*\+1 layers/,
  );
  assert.equal(base.drover(['image', 'outdated']).status, 0);
  base.write('Dockerfile', 'FROM bb\nRUN echo 2 > /version\n');
  base.build('-t', 'below');
  assert.match(base.drover(['image', 'outdated']).stdout, /above/);
  assert.match(base.drover(['image', 'rebase', '--layers', 'below']).stdout, /above:latest.*layers moved/);
  assert.equal(host.ok('run', '--rm', 'above'), '2\nown');
  host.ok('rmi', 'above', 'below');
});

test('lineage: what stands on what, what is outdated, and a base that is changed under it', () => {
  const base = new BuildProject(host, { Dockerfile: 'FROM bb\nENV VERSION=1\nRUN echo 1 > /version\n' });
  base.build('-t', 'mybase');
  const app = new BuildProject(host, {
    Dockerfile: 'FROM mybase\nENV OWN=yes\nRUN echo app > /app\nCMD cat /version /app\n',
  });
  app.build('-t', 'myapp');
  const tree = app.drover(['image', 'tree']).stdout;
  assert.match(tree, /[├└]─ mybase:latest.*\+1 layers\n.*└─ myapp:latest.*\+1 layers/);
  const current = app.drover(['image', 'outdated']);
  assert.equal(current.status, 0, current.stdout);
  base.write('Dockerfile', 'FROM bb\nENV VERSION=2\nRUN echo 2 > /version\n');
  base.build('-t', 'mybase');
  const outdated = app.drover(['image', 'outdated', '--format', 'json']);
  assert.equal(outdated.status, 1);
  const lines: { RepoTags: string[] }[] = JSON.parse(outdated.stdout);
  assert.deepEqual(
    lines.map(({ RepoTags }) => RepoTags),
    [['myapp:latest']],
  );
  assert.match(app.drover(['image', 'rebase', '--layers', 'mybase']).stdout, /myapp:latest.*layers moved/);
  assert.equal(host.ok('run', '--rm', 'myapp'), '2\napp');
  assert.match(host.ok('image', 'inspect', '-f', '{{.Config.Env}}', 'myapp'), /VERSION=2 OWN=yes/);
  assert.equal(app.drover(['image', 'outdated']).status, 0);
  // Built again, and what stands on it as well: its own layers may hold what the new base has changed.
  app.write('Dockerfile', 'FROM mybase\nRUN cp /version /copied\nCMD cat /copied\n');
  app.build('-t', 'myapp');
  const top = new BuildProject(host, { Dockerfile: 'FROM myapp\nRUN cp /copied /again\nCMD cat /again\n' });
  top.build('-t', 'mytop');
  base.write('Dockerfile', 'FROM bb\nENV VERSION=3\nRUN echo 3 > /version\n');
  base.build('-t', 'mybase');
  const rebased = app.drover(['image', 'rebase', 'mybase']);
  assert.match(rebased.stdout, /myapp:latest.*built again\nmytop:latest.*built again/, rebased.stderr);
  assert.equal(host.ok('run', '--rm', 'mytop'), '3');
  assert.match(app.drover(['image', 'rebase', 'mybase']).stdout, /No image was built on an older mybase/);
  host.ok('rmi', 'mytop', 'myapp', 'mybase');
});

test('attestations: provenance and a bill of materials, without secrets', () => {
  const project = new BuildProject(host, {
    'node_modules/left/package.json': '{"name": "left", "version": "1.2.3", "license": "MIT"}',
    status:
      'Package: base-files\nStatus: install ok installed\nVersion: 12.4\nArchitecture: amd64\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n',
    s: 'n0t-in-there',
    '.dockerignore': 's',
    Dockerfile:
      'FROM bb\nCOPY node_modules /app/node_modules\nCOPY status /var/lib/dpkg/status\nRUN --mount=type=secret,id=s true\n',
  });
  project.build('-t', 'attested', '--provenance', '--sbom', '--secret', 'id=s,src=s');
  const found: { predicateType: string }[] = JSON.parse(
    project.drover(['image', 'attestations', 'attested']).stdout,
  );
  assert.deepEqual(
    found.map(({ predicateType }) => predicateType),
    ['https://slsa.dev/provenance/v1', 'https://spdx.dev/Document'],
  );
  const text = JSON.stringify(found);
  assert.match(text, /pkg:npm\/left@1\.2\.3/);
  assert.match(text, /pkg:deb\/debian\/base-files@12\.4\?arch=amd64/);
  assert.doesNotMatch(text, /gone|n0t-in-there/);
  assert.match(text, /pkg:docker\/bb/);
  host.ok('rmi', 'attested');
});

test('a build that is interrupted ends its commands', async () => {
  const project = new BuildProject(host, { Dockerfile: 'FROM bb\nRUN sleep 98765\n' });
  const child = spawn(DROVER, ['-H', `unix://${host.socket}`, 'build', '.'], { cwd: project.path });
  const running = (): boolean =>
    execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes('sleep 98765');
  await eventually(running, 'the command runs');
  child.kill('SIGINT');
  await once(child, 'close');
  await eventually(() => !running() && readdirSync(join(data, 'containers')).length === 0, 'it is gone');
  await eventually(() => readdirSync(join(data, 'builds')).length === 0, 'its files are gone');
});

test('a build that is interrupted does not wait for a git repository that does not answer', async () => {
  await using silent = await HostileRegistry.open(() => undefined);
  const address = `http://127.0.0.1:${silent.port}/silent.git`;
  const child = spawn(DROVER, ['-H', `unix://${host.socket}`, 'build', address], { stdio: 'ignore' });
  const running = (): boolean =>
    execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes(`ls-remote -- ${address}`);
  await eventually(running, 'git asks');
  child.kill('SIGINT');
  await once(child, 'close');
  await eventually(() => !running(), 'git is gone');
});
