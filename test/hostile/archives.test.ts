import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { DockerHost, type Result } from '../support/docker-host.ts';

let host: DockerHost;
/** A directory that no archive may reach, and what is in it. */
let outside: string;

before(async () => {
  host = await DockerHost.open();
  outside = join(host.directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'kept'), 'as it was');
});
after(async () => {
  await host[Symbol.asyncDispose]();
});

type Entry = Partial<Header> & { name: string; data?: string };

async function archive(...entries: Entry[]): Promise<Buffer> {
  const stream = pack();
  for (const { data, ...header } of entries) stream.entry(header, data ?? '');
  stream.finalize();
  return await buffer(stream);
}

const images = (): string => host.ok('images', '-aq');

/** Imports an archive, and says whether anything came of it: in the images, in the daemon's work directory, or outside. */
function importArchive(data: Buffer): Result {
  const before = images();
  const done = host.input(data, 'import', '-', 'hostile');
  if (done.status !== 0) assert.equal(images(), before, 'no image was made');
  else host.ok('rmi', 'hostile');
  assertNothingLeft();
  return done;
}

function assertNothingLeft(): void {
  const dataRoot = join(host.daemon.directory, 'data');
  assert.deepEqual(readdirSync(join(dataRoot, 'tmp')), []);
  assert.deepEqual(readdirSync(outside), ['kept']);
  assert.equal(readFileSync(join(outside, 'kept'), 'utf8'), 'as it was');
  assert.equal(lstatSync('/etc/passwd').isFile(), true);
}

function refused(done: Result, message: RegExp): void {
  assert.notEqual(done.status, 0, `it was taken: ${done.stdout}`);
  assert.match(done.stderr, message);
}

test('names that climb out are refused, with the name', async () => {
  for (const name of [
    '../climbed',
    'a/../../climbed',
    './../climbed',
    '../../../../../../../../tmp/climbed',
  ]) {
    refused(importArchive(await archive({ name, data: 'x' })), /climbed\\?" is outside of its root/);
  }
});

test('absolute names stay inside', async () => {
  const path = join(outside, 'absolute');
  host.input(await archive({ name: path, data: 'inside' }), 'import', '-', 'absolute');
  assertNothingLeft();
  const layer = host.ok('image', 'inspect', '-f', '{{.GraphDriver.Data.UpperDir}}', 'absolute');
  assert.equal(readFileSync(join(layer, path), 'utf8'), 'inside');
  host.ok('rmi', 'absolute');
});

test('symbolic links and hard links that lead out are refused', async () => {
  refused(
    importArchive(await archive({ name: 'link', type: 'symlink', linkname: '../../outside' })),
    /invalid symlink.*link/,
  );
  refused(
    importArchive(await archive({ name: 'a/b/link', type: 'symlink', linkname: '../../../x' })),
    /invalid symlink/,
  );
  refused(
    importArchive(await archive({ name: 'hard', type: 'link', linkname: '../../../../etc/passwd' })),
    /invalid hardlink.*hard/,
  );
  // An absolute target means the container's own, where there is none.
  refused(
    importArchive(await archive({ name: 'hard', type: 'link', linkname: join(outside, 'kept') })),
    /failed to extract \\?"hard/,
  );
});

test('what goes through a symbolic link goes where the link leads inside', async () => {
  const through = await archive(
    { name: 'way', type: 'symlink', linkname: outside },
    { name: 'way/planted', data: 'x' },
  );
  // There is no such directory inside: nothing is made for it outside.
  refused(importArchive(through), /failed to extract \\?"way\/planted/);
  const replaced = await archive(
    { name: 'way', type: 'symlink', linkname: outside },
    { name: 'way', type: 'directory' },
    { name: 'way/planted', data: 'x' },
  );
  assert.equal(importArchive(replaced).status, 0);
  const twice = await archive(
    { name: 'a', type: 'symlink', linkname: 'b' },
    { name: 'b', type: 'symlink', linkname: 'a' },
    { name: 'a/x', data: 'x' },
  );
  refused(importArchive(twice), /failed to extract \\?"a\/x/);
});

test('device nodes are in the image, where nobody but root gets, and a container cannot use them', async () => {
  const rootfs = await archive({
    name: 'kmsg',
    type: 'character-device',
    devmajor: 1,
    devminor: 11,
    mode: 0o666,
  });
  const data = Buffer.concat([
    stripEnd(readFileSync(join(import.meta.dirname, '../../.cache/busybox.tar'))),
    rootfs,
  ]);
  assert.equal(host.input(data, 'import', '-', 'device').status, 0);
  host.fails(1, /Operation not permitted/, 'run', '--rm', 'device', 'head', '-c', '1', '/kmsg');
  assert.equal(lstatSync(join(host.daemon.directory, 'data')).mode & 0o007, 0);
  host.ok('rmi', 'device');
  assertNothingLeft();
});

/** Without the blocks of zeros that end an archive. */
function stripEnd(data: Buffer): Buffer {
  let end = data.length;
  while (end >= 512 && data.subarray(end - 512, end).every((byte) => byte === 0)) end -= 512;
  return data.subarray(0, end);
}

test('archives that are cut off, damaged or none are refused', async () => {
  const whole = await archive({ name: 'file', data: 'x'.repeat(5000) });
  refused(importArchive(whole.subarray(0, 3000)), /cut off/);
  refused(importArchive(whole.subarray(0, 700)), /cut off/);
  refused(importArchive(gzipSync(whole).subarray(0, 60)), /damaged|cut off/);
  refused(importArchive(Buffer.from('no archive at all '.repeat(100))), /checksum|header/);
  refused(importArchive(Buffer.alloc(0)), /empty/);
  const sparse = Buffer.from(whole);
  sparse.write('S', 156);
  refused(importArchive(withChecksum(sparse)), /the sparse map does not cover the data/);
  const huge = Buffer.from(whole);
  huge.write('77777777777\0', 124);
  refused(importArchive(withChecksum(huge)), /cut off/);
});

function withChecksum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

test('extended headers: too long, malformed, names with NUL', async () => {
  refused(
    importArchive(await archive({ name: 'x', data: 'x', pax: { path: '../climbed' } })),
    /outside of its root/,
  );
  refused(importArchive(await archive({ name: 'x', pax: { size: '-1' } })), /invalid/);
  refused(importArchive(await archive({ name: 'x', pax: { comment: 'x'.repeat(2 << 20) } })), /too large/);
});

test('a million tiny files: refused before the first one is made, while the daemon answers', async () => {
  const header = (await archive({ name: 'tiny', data: '' })).subarray(0, 512);
  const block = Buffer.concat(Array.from({ length: 1000 }, () => header));
  const path = join(host.directory, 'million.tar.gz');
  writeFileSync(path, gzipSync(Buffer.concat(Array.from({ length: 1001 }, () => block)), { level: 1 }));
  const importing = host.start('import', path, 'million');
  let answered = 0;
  while (importing.process.exitCode === null) {
    assert.deepEqual(await host.call('GET', '/_ping'), { status: 200, body: 'OK' });
    answered += 1;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.notEqual(await importing.end(), 0);
  assert.match(importing.stderr, /more than 1000000 entries/);
  assert.ok(answered > 3);
  assertNothingLeft();
});

test('load: images whose parts lead out, are missing or are not what they say', async () => {
  const load = (data: Buffer): Result => {
    const before = images();
    const done = host.input(data, 'load');
    assert.equal(images(), before);
    assertNothingLeft();
    return done;
  };
  const manifest = (value: unknown): Entry => ({ name: 'manifest.json', data: JSON.stringify(value) });
  refused(load(await archive({ name: 'file', data: 'x' })), /manifest|index/);
  refused(load(await archive({ name: 'manifest.json', data: '{' })), /not JSON/);
  refused(load(await archive(manifest([{ Config: '../../etc/passwd', Layers: [] }]))), /missing/);
  const configuration = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } };
  const config: Entry = { name: 'c.json', data: JSON.stringify(configuration) };
  refused(
    load(await archive(config, manifest([{ Config: 'c.json', Layers: ['../../../etc/passwd'] }]))),
    /layer|missing|diff_ids/,
  );
  const lying = { ...configuration, rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] } };
  const layer = (await archive({ name: 'file', data: 'x' })).toString('latin1');
  refused(
    load(
      await archive(
        { name: 'c.json', data: JSON.stringify(lying) },
        { name: 'layer.tar', data: layer },
        manifest([{ Config: 'c.json', Layers: ['layer.tar'] }]),
      ),
    ),
    /digest|diff|sha256/i,
  );
  refused(load(Buffer.from('nothing')), /cut off|header|archive/);
});

test('what the tests above made was tar as tar(1) reads it', async () => {
  const listed = execFileSync('tar', ['-tf', '-'], { input: await archive({ name: 'a', data: 'x' }) });
  assert.equal(String(listed), 'a\n');
});
