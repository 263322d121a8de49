import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { BuildProject } from '../support/build-project.ts';
import { hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();

const config = (image: string): Record<string, unknown> =>
  JSON.parse(host.ok('image', 'inspect', '-f', '{{json .Config}}', image));

test('every instruction that changes the configuration', () => {
  const project = new BuildProject(host, {
    Dockerfile: `ARG BASE=bb
FROM \${BASE}
MAINTAINER someone
ARG PORT=81
ENV A=1 B="x y" C=\${PORT:-0}
ENV OLD the rest
LABEL one=1 two="2 $A"
EXPOSE 80 $PORT/udp 90-91
VOLUME /v1 /v2
VOLUME ["/v3"]
WORKDIR /srv
WORKDIR app
USER 1000:100
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --retries=2 CMD true
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["echo"]
CMD one two
ONBUILD RUN echo later
`,
  });
  project.build('-t', 'configured', '--label', 'cli=yes');
  const found = config('configured');
  assert.deepEqual(
    found['Env'],
    [
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'A=1',
      'B=x y',
      'C=81',
      'OLD=the rest',
    ].filter((pair) => !pair.startsWith('PATH')),
  );
  assert.deepEqual(found['Labels'], { one: '1', two: '2 1', cli: 'yes' });
  assert.deepEqual(Object.keys(found['ExposedPorts'] ?? {}).sort(), ['80/tcp', '81/udp', '90/tcp', '91/tcp']);
  assert.deepEqual(Object.keys(found['Volumes'] ?? {}), ['/v1', '/v2', '/v3']);
  assert.equal(found['WorkingDir'], '/srv/app');
  assert.equal(found['User'], '1000:100');
  assert.equal(found['StopSignal'], 'SIGQUIT');
  assert.deepEqual(found['Healthcheck'], { Test: ['CMD-SHELL', 'true'], Interval: 5e9, Retries: 2 });
  assert.deepEqual(found['Shell'], ['/bin/sh', '-ec']);
  assert.deepEqual(found['Entrypoint'], ['echo']);
  assert.deepEqual(found['Cmd'], ['/bin/sh', '-ec', 'one two']);
  assert.deepEqual(found['OnBuild'], ['RUN echo later']);
  assert.equal(host.ok('image', 'inspect', '-f', '{{.Author}}', 'configured'), 'someone');
  assert.match(
    host.ok('history', '--format', '{{.CreatedBy}}', 'configured'),
    /^ONBUILD RUN echo later\nCMD one two\n/,
  );
});

test('ARG: scopes, defaults, the command line, platforms, and what ENV hides', () => {
  const project = new BuildProject(host, {
    Dockerfile: `ARG GLOBAL=g
ARG HIDDEN=h
FROM bb
ARG GLOBAL
ARG OWN=o
ARG UNSET
ARG TARGETARCH
ARG BOTH=arg
ENV BOTH=env
RUN echo "$GLOBAL $HIDDEN $OWN $UNSET $TARGETARCH $BOTH $HTTP_PROXY" > /out
FROM bb
COPY --from=0 /out /out
RUN echo "second: $OWN" >> /out
`,
  });
  const cat = (...flags: string[]): string => project.run(flags, 'cat', '/out');
  assert.equal(cat(), 'g  o  amd64 env \nsecond:');
  assert.equal(
    cat(
      '--build-arg',
      'GLOBAL=1',
      '--build-arg',
      'OWN=2',
      '--build-arg',
      'UNSET=3',
      '--build-arg',
      'HTTP_PROXY=p',
      '--build-arg',
      'BOTH=x',
    ),
    '1  2 3 amd64 env p\nsecond:',
  );
  // A proxy is passed on, and is no part of what a step depends on.
  assert.match(
    project.log(
      '--build-arg',
      'HTTP_PROXY=other',
      '--build-arg',
      'GLOBAL=1',
      '--build-arg',
      'OWN=2',
      '--build-arg',
      'UNSET=3',
      '--build-arg',
      'BOTH=x',
    ),
    /RUN echo "\$GLOBAL.*\n#\d+ CACHED/,
  );
});

test('ONBUILD is done by the image that stands on it, once', () => {
  const base = new BuildProject(host, {
    Dockerfile: 'FROM bb\nONBUILD COPY given /given\nONBUILD RUN cat /given > /ran\n',
  });
  base.build('-t', 'onbuild-base');
  const child = new BuildProject(host, {
    Dockerfile: 'FROM onbuild-base\nRUN echo own >> /ran\n',
    given: 'child\n',
  });
  assert.equal(child.run(['-t', 'onbuild-child'], 'cat', '/ran'), 'child\nown');
  assert.equal(config('onbuild-child')['OnBuild'] ?? null, null);
});

test('COPY: places, owners, modes, patterns, heredocs', () => {
  const project = new BuildProject(host, {
    'a.txt': 'a',
    'b.txt': 'b',
    'dir/one': '1',
    'dir/deep/two': '2',
    'secret.key': 'k',
    '.dockerignore': '*.key\n!kept.key\n# comment\ndir/deep/*.tmp\n',
    'kept.key': 'kept',
    'dir/deep/x.tmp': 'tmp',
    Dockerfile: `FROM bb
RUN mkdir -p /there && ln -s /there /link && echo web:x:1234:1234::/:/bin/sh >> /etc/passwd
COPY a.txt /file
COPY a.txt /there
COPY a.txt b.txt /new/
COPY dir /copied
COPY --chown=web:100 --chmod=640 a.txt /owned
COPY --chown=55 a.txt /uid
COPY --chmod=u=rwx,go= dir /modes
COPY *.txt /glob/
COPY *.key /keys/
COPY dir/one /link/one
COPY --parents dir/deep/two /parents/
COPY --exclude=deep dir /excluded
COPY ["a.txt", "/with blank"]
COPY <<first <<"second" /docs/
home $HOME
first
home $HOME
second
WORKDIR /wd
COPY a.txt .
COPY a.txt sub/
`,
  });
  const show = `cat /file; cat /there/a.txt; cat /new/b.txt; cat /copied/one /copied/deep/two; ls /copied/deep /glob /keys; stat -c '%u:%g %a %n' /owned /uid /modes/one /modes /new; cat /there/one /parents/dir/deep/two; ls /excluded; cat "/with blank" /docs/first /docs/second; ls /wd /wd/sub`;
  assert.deepEqual(
    project.run([], 'sh', '-c', show).split('\n'),
    [
      'aab12/copied/deep:',
      'two',
      '',
      '/glob:',
      'a.txt',
      'b.txt',
      '',
      '/keys:',
      'kept.key',
      '1234:100 640 /owned',
      '55:55 644 /uid',
      '0:0 700 /modes/one',
      '0:0 700 /modes',
      '0:0 755 /new',
      '12one',
      'ahome /root',
      'home $HOME',
      '/wd:',
      'a.txt',
      'sub',
      '',
      '/wd/sub:',
      'a.txt',
    ].map((line) => line.replace('home /root', 'home ')),
  );
});

test('a Dockerfile’s own .dockerignore stands in for the one of the context', () => {
  const project = new BuildProject(host, {
    a: 'a',
    b: 'b',
    '.dockerignore': 'a\n',
    'other.Dockerfile': 'FROM bb\nCOPY . /all\n',
    'other.Dockerfile.dockerignore': 'b\n*Dockerfile*\n.dockerignore\n',
    Dockerfile: 'FROM bb\nCOPY . /all\n',
  });
  assert.equal(project.run(['-f', 'other.Dockerfile'], 'ls', '-A', '/all'), 'a');
  assert.match(project.run([], 'ls', '-A', '/all'), /^\.dockerignore\nDockerfile\nb\n/);
});

test('COPY does not follow what an image puts in its way out of it', () => {
  const project = new BuildProject(host, {
    x: 'x',
    Dockerfile:
      'FROM bb\nRUN ln -s ../../../../../tmp/drover-escape /up && ln -s /tmp/drover-abs /abs\nCOPY x /up\nCOPY x /abs/y\n',
  });
  assert.equal(project.run([], 'sh', '-c', 'cat /tmp/drover-escape /tmp/drover-abs/y'), 'xx');
  assert.throws(() => readFileSync('/tmp/drover-escape'), /ENOENT/);
  assert.throws(() => readFileSync('/tmp/drover-abs/y'), /ENOENT/);
});

test('ADD: archives are unpacked, other files are not, addresses are fetched', async () => {
  const project = new BuildProject(host, { 'in/f': 'from the archive', plain: 'plain' });
  for (const [flag, name] of [
    ['-cf', 'a.tar'],
    ['-czf', 'a.tgz'],
    ['-cJf', 'a.tar.xz'],
    ['-cjf', 'a.tar.bz2'],
  ] as const)
    execFileSync('tar', [flag, name, '-C', 'in', 'f'], { cwd: project.path });
  execFileSync('gzip', ['-k', 'plain'], { cwd: project.path });
  const server = createServer((request, response) => {
    if (request.url === '/archive.tar') response.end(readFileSync(join(project.path, 'a.tar')));
    else if (request.url === '/file')
      response.setHeader('Last-Modified', 'Thu, 01 Jan 2015 00:00:00 GMT').end('fetched');
    else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const sum = 'sha256:2b4d7b1ed6fe2bc8eb4d4cc4cbb7b4a2ecb4bd9ae4a9b8d5b2b6ac5a1d0f0c11';
  project.write(
    'Dockerfile',
    `FROM bb
ADD a.tar /1/
ADD a.tgz /2/
ADD a.tar.xz /3/
ADD a.tar.bz2 /4/
ADD plain.gz /5/
ADD http://127.0.0.1:${port}/file /6/
ADD http://127.0.0.1:${port}/archive.tar /7/
ADD --unpack=true http://127.0.0.1:${port}/archive.tar /8/
ADD --unpack=false a.tar /9/
RUN cat /[1-48]/f && ls /5 /7 /9 && stat -c '%a %Y' /6/file
`,
  );
  try {
    // The server answers from this process: the build has to run beside it.
    const build = async (...flags: string[]): Promise<{ status: number | null; stderr: string }> => {
      const { spawn } = await import('node:child_process');
      const { DROVER } = await import('../support/api-daemon.ts');
      const child = spawn(
        DROVER,
        ['-H', `unix://${host.socket}`, 'build', '--progress', 'plain', ...flags, '.'],
        {
          cwd: project.path,
        },
      );
      let stderr = '';
      child.stderr.on('data', (chunk) => {
        stderr += String(chunk);
      });
      const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
      return { status, stderr };
    };
    const first = await build();
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stderr, /(from the archive){5}/);
    assert.match(first.stderr, /plain\.gz[\s\S]*archive\.tar[\s\S]*a\.tar[\s\S]*600 1420070400/);
    project.write('Dockerfile', `FROM bb\nADD --checksum=${sum} http://127.0.0.1:${port}/file /f\n`);
    assert.match((await build()).stderr, /Dockerfile:2:1: digest mismatch/);
    project.write('Dockerfile', `FROM bb\nADD http://127.0.0.1:${port}/gone /f\n`);
    assert.match((await build()).stderr, /the server answers 404/);
  } finally {
    server.close();
  }
});

test('git as a context and as a source', () => {
  const project = new BuildProject(host, { Dockerfile: 'FROM bb\nCOPY tracked /t\n' });
  const repository = join(host.directory, 'repository.git');
  mkdirSync(repository);
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
      cwd: repository,
      encoding: 'utf8',
    });
  git('init', '-q', '-b', 'main');
  writeFileSync(join(repository, 'tracked'), 'one');
  writeFileSync(join(repository, 'Dockerfile'), 'FROM bb\nCOPY tracked /t\n');
  git('add', '.');
  git('commit', '-qm', 'one');
  git('tag', 'v1');
  writeFileSync(join(repository, 'tracked'), 'two');
  git('commit', '-qam', 'two');
  project.write('Dockerfile', `FROM bb\nADD file://${repository}#v1 /one\nADD file://${repository} /two\n`);
  assert.equal(
    project.run([], 'sh', '-c', 'cat /one/tracked /two/tracked; ls -A /two'),
    'onetwoDockerfile\ntracked',
  );
  // A part of a repository is looked for inside of it, whatever it is called and links to.
  const outside = join(host.directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'kept'), 'not for images');
  symlinkSync(outside, join(repository, 'link'));
  git('add', '.');
  git('commit', '-qm', 'three');
  for (const part of ['link', `../../../../../../../..${outside}`]) {
    project.write('Dockerfile', `FROM bb\nADD file://${repository}#main:${part} /part\n`);
    project.fails(/Dockerfile:2:1: .*is not in file:/);
  }
});

test('docker build, the classic client: streams, exit codes, quiet, standard input', () => {
  const project = new BuildProject(host, { f: 'x', Dockerfile: 'FROM bb\nCOPY f /f\nRUN cat /f\n' });
  process.env['DOCKER_BUILDKIT'] = '0';
  const built = host.docker('build', '-t', 'classic', project.path);
  assert.equal(built.status, 0, built.stderr);
  assert.match(built.stdout, /Successfully built [0-9a-f]{12}\nSuccessfully tagged classic:latest/);
  const id = host.ok('image', 'inspect', '-f', '{{.Id}}', 'classic');
  assert.equal(host.ok('build', '-q', project.path), id);
  assert.equal(host.input('FROM bb\nRUN true\n', 'build', '-q', '-').status, 0);
  assert.equal(host.input('FROM bb\nRUN exit 7\n', 'build', '-').status, 7);
  assert.match(host.input('FORM bb', 'build', '-').stderr, /Dockerfile:1:1: unknown instruction: FORM/);
});
