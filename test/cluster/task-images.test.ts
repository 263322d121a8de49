import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { assignedTask } from '#cluster/agent/task-builder.ts';
import { parseReference } from '#engine/images/reference.ts';
import { BlobDownloads } from '#registry/blob-download.ts';
import { ImagePuller } from '#registry/image-puller.ts';
import { ImagePusher } from '#registry/image-pusher.ts';
import { Registries } from '#registry/registries.ts';
import { RegistryProcess } from '../support/registry-process.ts';
import { TaskEngineFixture } from './task-engine-fixture.ts';

const never = new AbortController().signal;

test('an image is pulled with the credentials of the assignment, by name and by digest', async () => {
  const home = mkdtempSync(join(tmpdir(), 'drover-task-images-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(home, { recursive: true }));
  writeFileSync(join(home, 'htpasswd'), `alice:${hashSync('wonder', 4)}\n`);
  const registry = stack.use(
    await RegistryProcess.start({ configuration: `auth: {method: htpasswd, htpasswd: ${home}/htpasswd}` }),
  );
  const fixture = stack.use(await TaskEngineFixture.make());
  const { engine, tasks } = fixture;
  const { images, layers, events, roots } = engine;
  const registries = new Registries({
    settings: { mirrors: [], insecure: [], certificateDirectories: [] },
  });
  const downloads = new BlobDownloads(roots.dataRoot);
  const puller = new ImagePuller({ images, layers, events, registries, downloads });
  const credentials = { username: 'alice', password: 'wonder' };
  const name = `${registry.host}/private/app:1`;
  images.tag('busybox', name);
  const pushing = { allTags: false, credentials, report: () => undefined, signal: never };
  await new ImagePusher({ images, layers, events, registries }).push({
    reference: parseReference(name),
    ...pushing,
  });
  const [digest = ''] = images.resolve(name).repoDigests;
  const forget = (): void => {
    images.remove(images.resolve('busybox:latest').id, { force: true, noPrune: false, users: () => [] });
  };
  forget();
  fixture.usePuller(puller);
  const registryAuth = Buffer.from(JSON.stringify(credentials)).toString('base64url');
  const task = (id: string, Image: string) => assignedTask({ id, container: { Image, Command: ['true'] } });
  await assert.rejects(tasks.prepare(task('anybody', name), never), {
    ...{ kind: 'not-found', message: /^No such image: .*app:1 \(registry: .*unauthorized/ },
  });
  await tasks.prepare({ ...task('named', name), registryAuth }, never);
  await tasks.start(task('named', name));
  const ended = await fixture.until('named', (now) => now?.state === 'exited');
  assert.equal(ended?.exit?.error, undefined);
  await tasks.remove('named');
  images.remove(name, { force: true, noPrune: false, users: () => [] });
  assert.deepEqual(images.list(), []);
  await tasks.prepare({ ...task('digest', digest), registryAuth }, never);
  await tasks.start(task('digest', digest));
  assert.equal((await fixture.until('digest', (now) => now?.state === 'exited'))?.exit?.exitCode, 0);
  await assert.rejects(tasks.prepare(task('none', `${registry.host}/private/none`), never), {
    ...{ kind: 'not-found', message: /^No such image: .*none \(registry: .*unauthorized/ },
  });
});

test('a registry that does not answer is worth another try', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { images, layers, events, roots } = fixture.engine;
  const settings = { mirrors: [], insecure: [], certificateDirectories: [] };
  const puller = new ImagePuller({
    ...{ images, layers, events, registries: new Registries({ settings }) },
    downloads: new BlobDownloads(roots.dataRoot),
  });
  fixture.usePuller(puller);
  const task = assignedTask({ container: { Image: '127.0.0.1:9/no/body' } });
  await assert.rejects(fixture.tasks.prepare(task, never), { kind: 'unavailable' });
});
