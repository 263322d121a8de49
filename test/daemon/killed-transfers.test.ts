import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { ApiDaemon, DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { HostileRegistry, imageOf, serving } from '../support/hostile-registry.ts';

/** A daemon that is killed in the middle of a build, a pull or a push loses nothing that was finished, and leaves nothing else. */
test('killed in a build: steps that were done are not done again, the rest is gone', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-killed-'));
  writeFileSync(join(directory, 'Dockerfile'), 'FROM bb\nRUN date +%N > /first\nRUN sleep 87654\n');
  const first = await ApiDaemon.start();
  assert.equal(first.docker('import', BUSYBOX, 'bb').status, 0);
  const running = (): boolean =>
    execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes('sleep 87654');
  const building = spawn(DROVER, ['-H', `unix://${first.socket}`, 'build', directory], { stdio: 'ignore' });
  await eventually(running, 'the second step runs');
  const built = once(building, 'close');
  await first.kill();
  await built;
  await using second = await first.startAgain();
  await eventually(() => !running(), 'its command is ended');
  const data = join(second.directory, 'data');
  for (const left of ['builds', 'containers', 'tmp'])
    assert.deepEqual(readdirSync(join(data, left)), [], left);
  writeFileSync(join(directory, 'Dockerfile'), 'FROM bb\nRUN date +%N > /first\n');
  const again = execFileSync(
    DROVER,
    ['-H', `unix://${second.socket}`, 'build', '--progress', 'plain', directory],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  assert.equal(again, '');
  const log = second.docker('build', directory).stdout;
  assert.match(log, /RUN date[^\n]*\n#\d+ CACHED/);
  rmSync(directory, { recursive: true });
});

test('killed in a pull: what came is not fetched again; in a push: the image is what it was', async () => {
  const work = mkdtempSync(join(tmpdir(), 'drover-killed-'));
  writeFileSync(join(work, 'random'), randomBytes(400_000));
  const tar = execFileSync('tar', ['-cf', '-', '-C', work, 'random']);
  const parts = imageOf(tar);
  const { layer } = parts;
  const asked: string[] = [];
  let slow = true;
  const honest = serving(parts, (response, request) => {
    asked.push(String(request.headers.range));
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, {
      'Content-Length': layer.length - start,
      'Content-Range': `bytes ${start}-${layer.length - 1}/${layer.length}`,
    });
    if (slow) response.write(layer.subarray(0, 300_000));
    else response.end(layer.subarray(start));
    return true;
  });
  await using registry = await HostileRegistry.open((path, response, request) => {
    if (path.includes('/uploads/')) {
      // Takes it in and never says so.
      asked.push(`${request.method}`);
      if (request.method === 'POST') response.writeHead(202, { Location: '/v2/x/blobs/uploads/1' }).end();
      else request.resume();
    } else if (request.method === 'HEAD' && path.includes('/blobs/')) response.writeHead(404).end();
    else honest(path, response, request);
  });
  const name = `127.0.0.1:${registry.port}/x:1`;
  const client = (daemon: ApiDaemon, ...args: string[]): ReturnType<typeof spawn> =>
    spawn('docker', ['-H', `unix://${daemon.socket}`, ...args], { stdio: 'ignore' });
  const first = await ApiDaemon.start();
  const partial = join(first.directory, 'data', 'downloads', digestOf(layer).slice(7));
  const pulling = client(first, 'pull', name);
  await eventually(() => existsSync(partial) && asked.length === 1, 'a part has come');
  await new Promise((resolve) => setTimeout(resolve, 200));
  const pulled = once(pulling, 'close');
  await first.kill();
  await pulled;
  slow = false;
  const second = await first.startAgain();
  const again = client(second, 'pull', name);
  assert.equal((await once(again, 'close'))[0], 0);
  assert.equal(asked[1], `bytes=300000-${layer.length - 1}`);
  assert.equal(existsSync(partial), false);
  const id = second.docker('image', 'inspect', '-f', '{{.Id}}', name).stdout;
  const pushing = client(second, 'push', name);
  await eventually(() => asked.includes('PATCH'), 'the push has begun');
  const pushed = once(pushing, 'close');
  await second.kill();
  await pushed;
  await using third = await second.startAgain();
  assert.equal(third.docker('image', 'inspect', '-f', '{{.Id}}', name).stdout, id);
  assert.deepEqual(readdirSync(join(third.directory, 'data', 'tmp')), []);
  rmSync(work, { recursive: true });
});
