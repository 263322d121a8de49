import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { DockerHost, eventually } from '../support/docker-host.ts';
import { listing } from '../support/tar-listing.ts';

/** Often enough to meet a container that changes something all the time. */
const ROUNDS = 30;

let host: DockerHost;
/** A directory of the host that no copy may reach, and what is in it. */
let outside: string;
let open: number;

before(async () => {
  host = await DockerHost.open();
  outside = join(host.directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'of the host');
});
beforeEach(() => {
  host.runDetached(['--name', 'box'], 'sleep', '1000');
  // The first copy leaves threads behind for the next.
  host.ok('cp', 'box:/etc/passwd', join(host.directory, 'first'));
  open = descriptors();
});
afterEach(async () => {
  assert.deepEqual(readdirSync(outside), ['secret']);
  assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'of the host');
  host.clear();
  await eventually(() => views() === 0, 'no view of files is left');
});
after(async () => {
  await host[Symbol.asyncDispose]();
});

function descriptors(): number {
  return readdirSync(`/proc/${host.daemon.pid}/fd`).length;
}

/** Mount namespaces that the daemon holds. */
function views(): number {
  const directory = `/proc/${host.daemon.pid}/fd`;
  return readdirSync(directory).filter((fd) => linkOf(join(directory, fd)).startsWith('mnt:')).length;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // It was closed in between.
    return '';
  }
}

const sh = (script: string): string => host.ok('exec', 'box', 'sh', '-c', script);

/** Does it in the container again and again. */
function withoutEnd(script: string): void {
  host.ok('exec', '-d', 'box', 'sh', '-c', `while :; do ${script}; done`);
}

type Entry = Partial<Header> & { name: string; data?: string };

async function archive(...entries: Entry[]): Promise<Buffer> {
  const stream = pack();
  for (const { data, ...header } of entries) stream.entry(header, data ?? '');
  stream.finalize();
  return await buffer(stream);
}

/**
 * In the container, without end: `name` is a directory, for long enough that some copies begin and end in that time, then a link to
 * `target`. What a copy puts in between goes as well.
 */
function swapping(name: string, target: string): void {
  const asDirectory = `rm -rf ${name}; mkdir ${name}; echo -n inside > ${name}/secret; usleep $((RANDOM * 4))`;
  withoutEnd(`${asDirectory}; rm -rf ${name}; ln -s ${target} ${name}`);
}

test('a directory that becomes a link while it is sent sends nothing of the host', async () => {
  swapping('/swap', outside);
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const path of ['box:/swap', 'box:/swap/secret', 'box:/swap/.', 'box:/']) {
      if (path === 'box:/' && round % 10 !== 0) continue;
      const { status, stdout } = host.binary('cp', path, '-');
      if (status !== 0) continue;
      taken += 1;
      for (const { header, content } of await listing(stdout))
        assert.ok(!content.includes('of the host'), `${path}: ${header.name}`);
    }
  }
  assert.ok(taken > 0, 'some of them arrived');
});

test('a directory that becomes a link while it is written to changes nothing of the host', async () => {
  swapping('/swap', outside);
  const data = await archive({ name: 'secret', data: 'planted' }, { name: 'more', data: 'planted' });
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++)
    if (host.input(data, 'cp', '-', 'box:/swap').status === 0) taken += 1;
  assert.ok(taken > 0, 'some of them arrived');
});

test('links of a container lead nowhere outside of it', async () => {
  sh(
    `ln -s ${outside} /to-directory; ln -s ${outside}/secret /to-file; ln -s /../../../../..${outside} /climbs`,
  );
  for (const path of ['/to-file', '/climbs/secret', '/to-directory/secret'])
    host.fails(1, /Could not find|no such file/i, 'cp', '-L', `box:${path}`, join(host.directory, 'stolen'));
  const data = await archive({ name: 'planted', data: 'x' });
  for (const path of ['/to-directory', '/climbs'])
    assert.notEqual(host.input(data, 'cp', '-', `box:${path}`).status, 0);
  sh(`mkdir -p ${outside}`);
  assert.equal(host.input(data, 'cp', '-', 'box:/climbs').status, 0);
  assert.equal(sh(`ls ${outside}`), 'planted');
});

test('an archive cannot leave the container, whatever its names and links are', async () => {
  for (const name of ['../planted', 'a/../../planted', '../../../../../../tmp/planted']) {
    const { status, stderr } = host.input(await archive({ name, data: 'x' }), 'cp', '-', 'box:/tmp');
    assert.notEqual(status, 0);
    assert.match(stderr, /planted\\?" is outside of its root/);
  }
  const throughLink = await archive(
    { name: 'link', type: 'symlink', linkname: outside },
    { name: 'link/planted', data: 'x' },
  );
  host.input(throughLink, 'cp', '-', 'box:/tmp');
  const hard = await archive({ name: 'hard', type: 'link', linkname: `${outside}/secret` });
  assert.notEqual(host.input(hard, 'cp', '-', 'box:/tmp').status, 0);
  const absolute = await archive({ name: `${outside}/planted`, data: 'x' });
  assert.equal(host.input(absolute, 'cp', '-', 'box:/tmp').status, 0);
  assert.equal(sh(`cat /tmp${outside}/planted`), 'x');
});

test('devices are named, not read, and pipes do not hold anybody up', async () => {
  sh(
    'mkdir /nodes; mknod /nodes/zero c 1 5; mknod /nodes/kmsg c 1 11; mkfifo /nodes/pipe; ln -s zero /nodes/link',
  );
  const { status, stdout } = host.binary('cp', 'box:/nodes', '-');
  assert.equal(status, 0);
  for (const { header, content } of await listing(stdout)) assert.equal(content, '', header.name);
  const data = await archive({ name: 'disk', type: 'block-device', devmajor: 8, devminor: 0 });
  assert.equal(host.input(data, 'cp', '-', 'box:/tmp').status, 0);
  assert.equal(
    host.docker('exec', 'box', 'head', '-c', '1', '/tmp/disk').status === 0,
    false,
    'it may not be opened',
  );
});

test('a file that becomes a device while it is sent is not opened', async () => {
  sh('mkdir /changing; echo -n plain > /changing/a; mknod /changing/b c 1 5');
  host.ok('exec', '-d', 'box', 'sh', '-c', 'cd /changing; while :; do mv a c; mv b a; mv a b; mv c a; done');
  for (let round = 0; round < ROUNDS; round++) {
    const { status, stdout } = host.binary('cp', 'box:/changing', '-');
    if (status !== 0) continue;
    for (const { content } of await listing(stdout)) assert.ok(['', 'plain'].includes(content), content);
  }
});

test('an archive that expands beyond measure is given up', () => {
  const block = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  // A file of 2 GiB: its header alone, then zeros without end.
  const header = Buffer.alloc(512);
  header.write('bomb', 0);
  for (const [at, text] of [
    [100, '0000644\0'],
    [108, '0000000\0'],
    [116, '0000000\0'],
    [124, '20000000000\0'],
    [136, '00000000000\0'],
    [148, '        '],
    [156, '0'],
    [257, 'ustar\x0000'],
  ] as const)
    header.write(text, at, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  const data = Buffer.concat([gzipSync(header), ...Array.from({ length: 40 }, () => block)]);
  const { status, stderr } = host.input(data, 'cp', '-', 'box:/tmp');
  assert.notEqual(status, 0);
  assert.match(stderr, /expands to more than/);
});

test('directories that lie too deep are refused by name, and damaged archives too', () => {
  sh(
    'mkdir /deep; cd /deep; i=0; while [ $i -lt 60 ]; do d=$(printf "%0200d" $i); mkdir $d; cd $d; i=$((i+1)); done',
  );
  for (const command of [
    ['cp', 'box:/deep', '-'],
    ['export', 'box'],
  ])
    assert.notEqual(host.binary(...command).status, 0);
  host.fails(1, /lie too deep/, 'commit', 'box', 'deep');
  host.fails(1, /lie too deep/, 'diff', 'box');
  const torn = Buffer.concat([gzipSync(Buffer.alloc(1024, 'x')).subarray(0, 20)]);
  assert.match(host.input(torn, 'cp', '-', 'box:/tmp').stderr, /damaged|invalid|EOF/);
  assert.match(host.input(Buffer.alloc(2048, 'x'), 'cp', '-', 'box:/tmp').stderr, /invalid tar header/);
});

test('clients that leave in the middle keep nothing open', async () => {
  sh('head -c 50000000 /dev/zero > /large');
  for (const path of ['/containers/box/archive?path=/large', '/containers/box/export']) {
    const call = request({ socketPath: host.socket, path, agent: false });
    call.end();
    const [response] = await once(call, 'response');
    await once(response, 'data');
    response.destroy();
  }
  const upload = request({
    socketPath: host.socket,
    method: 'PUT',
    path: '/containers/box/archive?path=/tmp',
    agent: false,
  });
  upload.on('error', () => undefined);
  upload.write(
    await archive({ name: 'half', data: 'x'.repeat(100_000) }).then((data) => data.subarray(0, 50_000)),
  );
  await eventually(() => host.docker('exec', 'box', 'test', '-e', '/tmp/half').status === 0, 'it has begun');
  upload.destroy();
  await eventually(() => descriptors() <= open, `no more than ${open} descriptors are open`);
});

test('a container that ends, starts and goes while its files are sent', async () => {
  sh('head -c 50000000 /dev/zero > /large');
  const call = request({ socketPath: host.socket, path: '/containers/box/export', agent: false });
  call.end();
  const [response] = await once(call, 'response');
  response.pause();
  host.ok('restart', '-t', '0', 'box');
  assert.equal(sh('stat -c %s /large'), '50000000');
  host.ok('stop', '-t', '0', 'box');
  host.ok('rm', 'box');
  // What was open stays readable, or breaks off: the client is told either way.
  await buffer(response).catch(() => undefined);
  host.runDetached(['--name', 'box'], 'sleep', '1000');
});

test('a root is mounted once, for as long as somebody looks or the container runs', async () => {
  const id = host.inspect('box', '{{.Id}}');
  const mounts = (): number =>
    readFileSync(`/proc/${host.daemon.pid}/mounts`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(`${id}/merged`)).length;
  sh('head -c 50000000 /dev/zero > /large');
  assert.equal(mounts(), 1);
  host.ok('stop', '-t', '0', 'box');
  await eventually(() => mounts() === 0, 'nothing is mounted');
  host.ok('cp', 'box:/etc/passwd', join(host.directory, 'passwd'));
  await eventually(() => mounts() === 0, 'nothing is mounted');
  const call = request({ socketPath: host.socket, path: '/containers/box/export', agent: false });
  call.end();
  const [response] = await once(call, 'response');
  response.pause();
  assert.equal(mounts(), 1);
  host.ok('start', 'box');
  const rest = await buffer(response);
  assert.ok(rest.length > 50_000_000);
  assert.equal(mounts(), 1);
  assert.equal(sh('stat -c %s /large'), '50000000');
  host.ok('stop', '-t', '0', 'box');
  await eventually(() => mounts() === 0, 'nothing is mounted');
});

test('files grow and shrink while they are sent', async () => {
  sh('mkdir /busy; for i in 1 2 3 4 5 6 7 8; do head -c 300000 /dev/zero > /busy/$i; done');
  withoutEnd(
    'for i in 1 2 3 4 5 6 7 8; do : > /busy/$i; head -c 400000 /dev/zero > /busy/$i; rm /busy/$i; done',
  );
  for (let round = 0; round < ROUNDS; round++) {
    const { status, stdout, stderr } = host.binary('cp', 'box:/busy', '-');
    assert.equal(status, 0, stderr.toString());
    for (const { header, content } of await listing(stdout)) assert.equal(content.length, header.size ?? 0);
  }
});

test('an archive without an end is not kept in memory', async () => {
  const { pid } = host.daemon;
  const resident = (): number =>
    Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const start = resident();
  const tar = spawn('sh', [
    '-c',
    `head -c 400000000 /dev/urandom > ${host.directory}/much && tar -C ${host.directory} -c much | docker -H unix://${host.socket} cp - box:/tmp && docker -H unix://${host.socket} cp box:/tmp/much - | wc -c`,
  ]);
  let most = start;
  const watch = setInterval(() => {
    most = Math.max(most, resident());
  }, 20);
  const shown = await buffer(tar.stdout);
  clearInterval(watch);
  assert.ok(Number(shown.toString().trim()) > 400_000_000);
  assert.ok(most - start < 150_000, `it grew by ${most - start} kB for a file of 400 MB`);
});
