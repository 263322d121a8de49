import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { DROVER } from '../support/api-daemon.ts';
import { DockerHost, type Result } from '../support/docker-host.ts';
import { RegistryProcess } from '../support/registry-process.ts';

const host = await DockerHost.open();
const directory = mkdtempSync(join(tmpdir(), 'drover-login-'));
after(async () => {
  await host[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});
writeFileSync(join(directory, 'htpasswd'), `alice:${hashSync('wonder', 4)}\n`);

/** A client with a configuration of its own; helpers are looked for in `directory`/bin. */
function client(name: string, config: object = {}): (program: string, ...args: string[]) => Result {
  const home = join(directory, name);
  mkdirSync(home);
  writeFileSync(join(home, 'config.json'), JSON.stringify(config));
  const env = {
    ...process.env,
    DOCKER_CONFIG: home,
    PATH: `${join(directory, 'bin')}:${process.env['PATH']}`,
  };
  return (program, ...args) =>
    spawnSync(program, ['-H', `unix://${host.socket}`, ...args], {
      encoding: 'utf8',
      env,
      timeout: 20_000,
      input: 'wonder',
    });
}

for (const method of ['htpasswd', 'token']) {
  test(`docker login and drover login, by ${method}`, async () => {
    await using registry = await RegistryProcess.start({
      configuration: `auth: {method: ${method}, htpasswd: ${directory}/htpasswd}`,
    });
    const name = `${registry.host}/private/app:1`;
    host.ok('tag', 'bb', name);
    const docker = client(`docker-${method}`);
    assert.notEqual(docker('docker', 'push', name).status, 0);
    assert.match(
      docker('docker', 'login', '-u', 'alice', '-p', 'wrong', registry.host).stderr,
      /incorrect username or password|unauthorized/,
    );
    assert.match(
      docker('docker', 'login', '-u', 'alice', '--password-stdin', registry.host).stdout,
      /Login Succeeded/,
    );
    const pushed = docker('docker', 'push', name);
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.equal(docker('docker', 'pull', name).status, 0);
    const drover = client(`drover-${method}`);
    assert.match(drover(DROVER, 'pull', name).stderr, /authentication required|unauthorized/);
    assert.match(
      drover(DROVER, 'login', '-u', 'alice', '--password-stdin', registry.host).stdout,
      /Login Succeeded/,
    );
    const pulled = drover(DROVER, 'pull', name);
    assert.equal(pulled.status, 0, pulled.stderr);
    // A base of a build is pulled as the same user.
    host.ok('rmi', name);
    writeFileSync(join(directory, 'Dockerfile'), `FROM ${name}\nRUN true\n`);
    const built = drover(DROVER, 'build', '-q', '-t', 'private-child', directory);
    assert.equal(built.status, 0, built.stderr);
    assert.match(drover(DROVER, 'logout', registry.host).stdout, /Removed/);
    assert.notEqual(drover(DROVER, 'pull', name).status, 0);
    host.ok('rmi', '-f', 'private-child');
  });
}

test('credentials of a helper', async () => {
  await using registry = await RegistryProcess.start({
    configuration: `auth: {method: htpasswd, htpasswd: ${directory}/htpasswd}`,
  });
  mkdirSync(join(directory, 'bin'));
  const helper = join(directory, 'bin', 'docker-credential-test');
  writeFileSync(
    helper,
    `#!/bin/sh\nread host\necho "$1 $host" >> ${directory}/asked\n[ "$1" = get ] && echo '{"ServerURL":"x","Username":"alice","Secret":"wonder"}'\nexit 0\n`,
  );
  chmodSync(helper, 0o755);
  const name = `${registry.host}/private/app:1`;
  host.ok('tag', 'bb', name);
  const drover = client('helped', { credHelpers: { [registry.host]: 'test' } });
  const pushed = drover(DROVER, 'push', name);
  assert.equal(pushed.status, 0, pushed.stderr);
  assert.match(readFileSync(join(directory, 'asked'), 'utf8'), new RegExp(`get ${registry.host}`));
});

test('TLS: a CA of one’s own has to be known', async () => {
  const openssl = (...args: string[]): Buffer =>
    execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=test',
    '-addext',
    'subjectAltName=DNS:registry.test',
    '-keyout',
    'key.pem',
    '-out',
    'cert.pem',
  );
  await using registry = await RegistryProcess.start({
    configuration: `tls: {certificate: ${directory}/cert.pem, key: ${directory}/key.pem}`,
  });
  // Loopback is insecure as with Docker: what is not verified there still has to be TLS.
  const name = `${registry.host}/tls/app:1`;
  host.ok('tag', 'bb', name);
  host.ok('push', name);
  host.ok('pull', name);
  const plain = await registry.call('GET', '/v2/').catch((error: unknown) => error);
  assert.ok(plain instanceof Error);
});

test('the live progress of a build on a terminal', async () => {
  writeFileSync(
    join(directory, 'Dockerfile'),
    'FROM bb\nRUN echo from the step; sleep 0.3\nRUN echo second\n',
  );
  const command = `${DROVER} -H unix://${host.socket} build -t shown ${directory}`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm' },
  });
  let shown = '';
  terminal.stdout.on('data', (chunk) => {
    shown += String(chunk);
  });
  const [code] = await once(terminal, 'close');
  assert.equal(code, 0);
  assert.match(shown, /\[\+\] Building [\d.]+s \(\d\/\d\)/);
  assert.match(shown, /⋯ \[stage-0 2\/3\] RUN echo from the step/);
  assert.match(shown, /from the step/);
  assert.match(shown, /✔ \[stage-0 3\/3\] RUN echo second/);
  assert.ok(shown.includes('\u001b[?25h'), 'the cursor is back');
  host.ok('rmi', 'shown');
});
