import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { ApiDaemon, DROVER } from '../support/api-daemon.ts';
import { eventually } from '../support/docker-host.ts';

/**
 * Real projects on a Debian base that is pulled under its public name from a registry of our own, each built and run. Needs the
 * network that apt-get has.
 */
const BASE = join(import.meta.dirname, '../../.cache/debian-base.tar');
const LIMIT_MS = 600_000;
const APT =
  'RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends';

const directory = mkdtempSync(join(tmpdir(), 'drover-projects-'));
let daemon: ApiDaemon;

before(async () => {
  if (!existsSync(BASE)) {
    command('mmdebstrap', ['--variant=minbase', 'bookworm', BASE]);
  }
  const port = String(21_000 + (process.pid % 20_000));
  daemon = await ApiDaemon.start(undefined, [
    ...['--registry-addr', `127.0.0.1:${port}`, '--registry-mirror', `http://127.0.0.1:${port}`],
  ]);
  docker('import', BASE, `127.0.0.1:${port}/library/debian:12`);
  docker('push', `127.0.0.1:${port}/library/debian:12`);
  docker('rmi', `127.0.0.1:${port}/library/debian:12`);
});
after(async () => {
  const ids = docker('ps', '-aq').split('\n').filter(Boolean);
  if (ids.length > 0) docker('rm', '-f', '-v', ...ids);
  await daemon[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

function command(program: string, args: readonly string[], cwd = directory): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: LIMIT_MS, maxBuffer: 64 << 20 });
  assert.equal(done.status, 0, `${program} ${args.join(' ')}:\n${done.stdout}${done.stderr}`);
  return done.stdout.trim();
}

function docker(...args: string[]): string {
  return command('docker', ['-H', `unix://${daemon.socket}`, ...args]);
}

/** Builds a project; its image is called as the project is. */
function build(name: string, files: Record<string, string>, ...flags: string[]): void {
  const path = join(directory, name);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, file)), { recursive: true });
    writeFileSync(join(path, file), text);
  }
  command(
    DROVER,
    ['-H', `unix://${daemon.socket}`, 'build', '--progress', 'plain', '-t', name, ...flags, '.'],
    path,
  );
}

const run = (name: string, ...args: string[]): string => docker('run', '--rm', name, ...args);

test('the base is pulled under its public name', () => {
  build('base', { Dockerfile: 'FROM debian:12\nRUN cat /etc/debian_version\n' });
  assert.match(run('base', 'cat', '/etc/os-release'), /bookworm/);
});

test('a Node program', () => {
  build('node-app', {
    'package.json': '{"name":"app","version":"1.0.0","main":"app.js"}',
    'app.js': "console.log('node', require('os').platform(), require('./package.json').version);",
    Dockerfile: `FROM debian:12\n${APT} nodejs\nWORKDIR /app\nCOPY package.json .\nCOPY app.js .\nUSER 1000\nCMD ["node", "app.js"]\n`,
  });
  assert.equal(run('node-app'), 'node linux 1.0.0');
});

test('a Python program', () => {
  build('python-app', {
    'app/__main__.py': 'import sys, json; print(json.dumps({"python": sys.version_info[0]}))',
    Dockerfile: `FROM debian:12\n${APT} python3-minimal libpython3-stdlib\nCOPY app /app\nENTRYPOINT ["python3", "/app"]\n`,
  });
  assert.equal(run('python-app'), '{"python": 3}');
});

test('a C program: compiled in one stage, alone in the next', () => {
  build('c-app', {
    'main.c': '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n',
    Makefile: 'app: main.c\n\tcc -static -Os -o app main.c\n',
    Dockerfile: `FROM debian:12 AS build\n${APT} gcc libc6-dev make\nWORKDIR /src\nCOPY . .\nRUN make\nFROM scratch\nCOPY --from=build /src/app /app\nENTRYPOINT ["/app"]\n`,
  });
  assert.equal(run('c-app'), 'compiled');
  assert.equal(docker('image', 'inspect', '-f', '{{len .RootFS.Layers}}', 'c-app'), '1');
});

test('a Go program: static, with a cache of its compiler', () => {
  build('go-app', {
    'go.mod': 'module app\n\ngo 1.19\n',
    'main.go':
      'package main\n\nimport (\n\t"fmt"\n\t"runtime"\n)\n\nfunc main() { fmt.Println("go", runtime.GOOS) }\n',
    Dockerfile: `FROM debian:12 AS build\n${APT} golang-go\nWORKDIR /src\nCOPY go.mod .\nCOPY *.go .\nRUN --mount=type=cache,target=/root/.cache/go-build CGO_ENABLED=0 go build -o /app .\nFROM scratch\nCOPY --from=build /app /app\nCMD ["/app"]\n`,
  });
  assert.equal(run('go-app'), 'go linux');
});

test('a Java program', () => {
  build('java-app', {
    'Main.java':
      'public class Main { public static void main(String[] a) { System.out.println("java " + a.length); } }',
    Dockerfile: `FROM debian:12 AS build\n${APT} openjdk-17-jdk-headless\nCOPY Main.java /src/\nRUN javac -d /classes /src/Main.java\nFROM debian:12\n${APT} openjdk-17-jre-headless\nCOPY --from=build /classes /classes\nENTRYPOINT ["java", "-cp", "/classes", "Main"]\n`,
  });
  assert.equal(run('java-app', 'one', 'two'), 'java 2');
});

test('nginx', async () => {
  build('web', {
    'site/index.html': '<h1>served</h1>',
    Dockerfile: `FROM debian:12\n${APT} nginx-light && ln -sf /dev/stdout /var/log/nginx/access.log\nCOPY site /var/www/html\nEXPOSE 80\nSTOPSIGNAL SIGQUIT\nCMD ["nginx", "-g", "daemon off;"]\n`,
  });
  const id = docker('run', '-d', 'web');
  const address = docker('inspect', '-f', '{{.NetworkSettings.IPAddress}}', id);
  await eventually(
    () => spawnSync('curl', ['-sf', `http://${address}/`], { encoding: 'utf8' }).stdout === '<h1>served</h1>',
    'the page is served',
  );
  docker('stop', id);
});

test('PostgreSQL', async () => {
  build('db', {
    Dockerfile: `FROM debian:12\n${APT} postgresql\nENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data\nUSER postgres\nRUN initdb -A trust\nVOLUME /var/lib/postgresql/data\nHEALTHCHECK --interval=1s CMD pg_isready -q -h /tmp\nCMD ["postgres", "-k", "/tmp"]\n`,
  });
  const id = docker('run', '-d', 'db');
  await eventually(
    () => docker('inspect', '-f', '{{.State.Health.Status}}', id) === 'healthy',
    'it is healthy',
  );
  assert.equal(docker('exec', id, 'psql', '-h', '/tmp', '-Atc', 'select 6 * 7'), '42');
  docker('rm', '-f', '-v', id);
});

test('Redis', async () => {
  build('cache', {
    Dockerfile: `FROM debian:12\n${APT} redis-server\nUSER redis\nCMD ["redis-server", "--save", "", "--protected-mode", "no"]\n`,
  });
  const id = docker('run', '-d', 'cache');
  await eventually(
    () =>
      spawnSync('docker', ['-H', `unix://${daemon.socket}`, 'exec', id, 'redis-cli', 'ping'], {
        encoding: 'utf8',
      }).stdout === 'PONG\n',
    'it answers',
  );
  docker('rm', '-f', '-v', id);
});

test('heredocs: files and scripts', () => {
  build('scripts', {
    Dockerfile: `FROM debian:12
COPY <<-"END" /entry.sh
	#!/bin/bash
	set -euo pipefail
	echo "started with $*"
	END
RUN <<END
chmod +x /entry.sh
for name in a b; do echo "$name" >> /names; done
END
RUN <<END bash
[[ -s /names ]] && echo bash >> /names
END
ENTRYPOINT ["/entry.sh"]
`,
  });
  assert.equal(run('scripts', 'this'), 'started with this');
  assert.equal(docker('run', '--rm', '--entrypoint', 'cat', 'scripts', '/names'), 'a\nb\nbash');
});

test('secrets, arguments and a target that is a test', () => {
  writeFileSync(join(directory, 'token'), 't0ken');
  const files = {
    Dockerfile: `ARG RELEASE=12
FROM debian:\${RELEASE} AS build
ARG VERSION
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = t0ken && echo "$VERSION" > /version
FROM build AS check
RUN grep -q 2 /version
FROM debian:12
COPY --from=build /version /version
CMD ["cat", "/version"]
`,
  };
  const flags = ['--secret', `id=token,src=${join(directory, 'token')}`, '--build-arg', 'VERSION=2'];
  build('checked', files, ...flags, '--target', 'check');
  build('released', files, ...flags);
  assert.equal(run('released'), '2');
});

test('a base for others, with ONBUILD, and what it is for', () => {
  build('onbuild', {
    Dockerfile: `FROM debian:12\n${APT} make\nONBUILD WORKDIR /src\nONBUILD COPY . .\nONBUILD RUN make all\n`,
  });
  build('child', {
    Makefile: 'all:\n\techo made > made\n',
    Dockerfile: 'FROM onbuild\nCMD ["cat", "made"]\n',
  });
  assert.equal(run('child'), 'made');
});
