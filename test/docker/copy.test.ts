import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';
import { type Listed, listing } from '../support/tar-listing.ts';
import { differs } from './known-differences.ts';

const host = await hostOfFile();
/** For files of one test. */
let here: string;
let count = 0;

beforeEach(() => {
  count += 1;
  here = join(host.directory, `test-${count}`);
  mkdirSync(here);
});

function file(name: string, content: string): string {
  const path = join(here, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const at = (name: string): string => join(here, name);

/** A container that goes on, in which `script` has run. */
function running(name: string, script: string, ...options: string[]): void {
  host.runDetached(['--name', name, ...options], 'sleep', '1000');
  host.ok('exec', name, 'sh', '-c', script);
}

const sh = (name: string, script: string): string => host.ok('exec', name, 'sh', '-c', script);

/** What `docker cp … -` sends. */
async function archived(source: string): Promise<Listed[]> {
  const { status, stdout, stderr } = host.binary('cp', source, '-');
  assert.equal(status, 0, stderr.toString());
  return await listing(stdout);
}

test('a file goes in and out, with its mode, owner and time', () => {
  running('box', 'true');
  const path = file('note', 'hello');
  chmodSync(path, 0o640);
  chownSync(path, 1234, 4321);
  utimesSync(path, 1_000_000_000, 1_000_000_000);
  host.ok('cp', path, 'box:/tmp');
  assert.equal(
    sh('box', 'cat /tmp/note; stat -c " %a %u %g %Y" /tmp/note'),
    'hello 640 1234 4321 1000000000',
  );
  host.ok('cp', path, 'box:/tmp/other');
  assert.equal(sh('box', 'cat /tmp/other'), 'hello');
  host.ok('cp', 'box:/tmp/note', at('back'));
  assert.equal(readFileSync(at('back'), 'utf8'), 'hello');
  assert.equal(statSync(at('back')).mode & 0o777, 0o640);
  assert.equal(statSync(at('back')).mtimeMs, 1_000_000_000_000);
});

test('a directory goes where the kind of name at its end says', () => {
  running('box', 'mkdir -p /there /there2');
  file('dir/a', 'a');
  file('dir/sub/b', 'b');
  symlinkSync('sub/b', at('dir/link'));
  host.ok('cp', at('dir'), 'box:/there');
  assert.equal(sh('box', 'cat /there/dir/a /there/dir/sub/b; readlink /there/dir/link'), 'absub/b');
  host.ok('cp', `${at('dir')}/.`, 'box:/there2');
  assert.equal(sh('box', 'cd /there2 && find . | sort | xargs'), '. ./a ./link ./sub ./sub/b');
  host.ok('cp', at('dir'), 'box:/new');
  assert.equal(sh('box', 'cat /new/a'), 'a');
  host.ok('cp', 'box:/there', at('out'));
  assert.equal(readFileSync(at('out/dir/sub/b'), 'utf8'), 'b');
  host.ok('cp', 'box:/there/.', at('flat'));
  assert.equal(readlinkSync(at('flat/dir/link')), 'sub/b');
  mkdirSync(at('into'));
  host.ok('cp', 'box:/there', at('into'));
  assert.equal(readFileSync(at('into/there/dir/a'), 'utf8'), 'a');
});

test('what is not there, and what does not fit, is refused in Docker’s words', () => {
  running('box', 'mkdir /dir; echo x > /plain');
  host.fails(1, /Could not find the file \/missing in container/, 'cp', 'box:/missing', at('x'));
  host.fails(1, /[Nn]o such container: nosuch/, 'cp', 'nosuch:/etc', at('x'));
  file('one', '1');
  file('two/2', '2');
  host.fails(1, /Could not find the file|not found|no such directory/i, 'cp', at('one'), 'box:/missing/dir/');
  host.fails(1, /cannot copy directory/, 'cp', at('two'), 'box:/plain');
  host.fails(1, /not a directory|extraction point|no such directory/, 'cp', at('one'), 'box:/plain/');
});

test('an archive comes from standard input and goes to standard output', async () => {
  running(
    'box',
    'mkdir -p /dir/sub; echo -n content > /dir/sub/file; ln -s sub/file /dir/link; ln /dir/sub/file /dir/z-hard',
  );
  const entries = await archived('box:/dir');
  assert.deepEqual(
    entries.map(({ header, content }) => [header.name, header.type, content || header.linkname]),
    [
      ['dir/', 'directory', null],
      ['dir/link', 'symlink', 'sub/file'],
      ['dir/sub/', 'directory', null],
      ['dir/sub/file', 'file', 'content'],
      ['dir/z-hard', 'link', 'dir/sub/file'],
    ],
  );
  assert.deepEqual((await archived('box:/dir/.')).map(({ header }) => header.name)[0], './');
  assert.deepEqual(
    (await archived('box:/dir/link')).map(({ header }) => header.type),
    ['symlink'],
  );
  const { stdout } = host.binary('cp', 'box:/dir', '-');
  sh('box', 'mkdir /again');
  assert.equal(host.input(stdout, 'cp', '-', 'box:/again').status, 0);
  assert.equal(sh('box', 'cat /again/dir/z-hard; readlink /again/dir/link'), 'contentsub/file');
});

test('links are followed inside of the container, where they are to be followed', async () => {
  running(
    'box',
    'mkdir -p /real/sub; echo -n inside > /real/file; ln -s /real /link; ln -s /real/file /climbs; ln -s nowhere /dangles',
  );
  host.ok('cp', 'box:/link/file', at('through'));
  assert.equal(readFileSync(at('through'), 'utf8'), 'inside');
  host.ok('cp', 'box:/climbs', at('link-itself'));
  assert.equal(readlinkSync(at('link-itself')), '/real/file');
  host.ok('cp', '-L', 'box:/climbs', at('followed'));
  assert.equal(readFileSync(at('followed'), 'utf8'), 'inside');
  host.ok('cp', 'box:/link/', at('followed-directory'));
  assert.equal(readFileSync(at('followed-directory/file'), 'utf8'), 'inside');
  host.ok('cp', 'box:/dangles', at('dangles'));
  assert.equal(readlinkSync(at('dangles')), 'nowhere');
  host.ok('cp', file('new', 'through a link'), 'box:/link/sub');
  host.ok('cp', at('new'), 'box:/climbs');
  assert.equal(
    sh('box', 'cat /real/sub/new /real/file; readlink /climbs'),
    'through a linkthrough a link/real/file',
  );
  symlinkSync('new', at('own-link'));
  host.ok('cp', '-L', at('own-link'), 'box:/tmp/own');
  assert.equal(sh('box', 'test -L /tmp/own || cat /tmp/own'), 'through a link');
});

test('containers that do not run have files too', () => {
  host.ok('create', '--name', 'never', 'bb', 'cat', '/tmp/given');
  host.ok('cp', file('given', 'given before the start'), 'never:/tmp');
  assert.equal(host.ok('start', '-a', 'never'), 'given before the start');
  host.ok('cp', 'never:/tmp/given', at('after'));
  assert.equal(readFileSync(at('after'), 'utf8'), 'given before the start');
  assert.equal(host.ok('start', '-a', 'never'), 'given before the start');
});

test('volumes and binds are what is copied, as the container sees them', () => {
  mkdirSync(at('bound'));
  mkdirSync(at('read-only'));
  writeFileSync(at('read-only/kept'), 'kept');
  host.ok(
    ...['create', '--name', 'mounted', '-v', 'data:/data', '-v', `${at('bound')}:/data/bound`],
    ...['-v', `${at('read-only')}:/ro:ro`, '--tmpfs', '/tmp', 'bb', 'cat', '/data/file'],
  );
  host.ok('cp', file('file', 'in the volume'), 'mounted:/data');
  assert.equal(host.ok('run', '--rm', '-v', 'data:/d', 'bb', 'cat', '/d/file'), 'in the volume');
  assert.equal(host.ok('start', '-a', 'mounted'), 'in the volume');
  host.ok('cp', at('file'), 'mounted:/data/bound/file');
  assert.equal(readFileSync(at('bound/file'), 'utf8'), 'in the volume');
  host.ok('cp', 'mounted:/ro/kept', at('kept'));
  host.fails(1, /mounted volume is marked read-only/, 'cp', at('file'), 'mounted:/ro/');
  assert.equal(existsSync(at('read-only/file')), false);
  host.ok('cp', 'mounted:/data', at('data'));
  assert.equal(readFileSync(at('data/bound/file'), 'utf8'), 'in the volume');
});

test('a volume that a copy comes to first is filled from the image first', () => {
  host.ok('create', '--name', 'filled', '-v', 'fresh:/etc', 'bb', 'true');
  host.ok('cp', file('extra', 'x'), 'filled:/etc');
  assert.equal(
    host.ok('run', '--rm', '-v', 'fresh:/d', 'bb', 'sh', '-c', 'grep -c root: /d/passwd; cat /d/extra'),
    '1\nx',
  );
});

test('a read-only container takes files in its volumes alone', () => {
  running('box', 'true', '--read-only', '-v', 'data:/data');
  host.fails(1, /container rootfs is marked read-only/, 'cp', file('x', 'x'), 'box:/tmp');
  host.ok('cp', at('x'), 'box:/data');
  assert.equal(sh('box', 'cat /data/x'), 'x');
});

test('-a gives what is copied in to the container’s user', differs('copy-owner'), () => {
  running('box', 'true', '-u', '33:44');
  const path = file('mine', 'x');
  chownSync(path, 1234, 1234);
  host.ok('cp', path, 'box:/tmp/plain');
  host.ok('cp', '-a', path, 'box:/tmp/archive');
  assert.equal(sh('box', 'stat -c %u:%g /tmp/plain /tmp/archive | xargs'), '1234:1234 33:44');
});

test('a directory is not replaced by a file, nor a file by a directory', () => {
  running('box', 'mkdir -p /dir/name; echo kept > /dir/file; echo kept > /dir/name/file');
  file('src/name', 'a file');
  host.fails(1, /cannot overwrite directory .* with non-directory/, 'cp', `${at('src')}/.`, 'box:/dir');
  file('src2/file/below', 'a directory');
  host.fails(1, /cannot overwrite non-directory .* with directory/, 'cp', `${at('src2')}/.`, 'box:/dir');
  assert.equal(sh('box', 'cat /dir/name/file /dir/file'), 'kept\nkept');
});

test('the files of its network are seen, and devices are sent as devices', async () => {
  running('box', 'mknod /zero c 1 5; mkfifo /pipe', '-h', 'a-name');
  host.ok('cp', 'box:/etc/hostname', at('hostname'));
  assert.equal(readFileSync(at('hostname'), 'utf8'), 'a-name\n');
  assert.deepEqual(
    (await archived('box:/zero')).map(({ header }) => [
      header.name,
      header.type,
      header.devmajor,
      header.devminor,
    ]),
    [['zero', 'character-device', 1, 5]],
  );
  assert.deepEqual(
    (await archived('box:/pipe')).map(({ header }) => header.type),
    ['fifo'],
  );
});

test('a paused container can be copied from and to', () => {
  running('box', 'echo -n x > /file');
  host.ok('pause', 'box');
  host.ok('cp', 'box:/file', at('file'));
  host.ok('cp', at('file'), 'box:/tmp');
  host.ok('unpause', 'box');
  assert.equal(sh('box', 'cat /tmp/file'), 'x');
});

test('the image’s directories keep their mode when something is copied into them', () => {
  running('box', 'mkdir -m 711 /odd');
  file('dir/file', 'x');
  chmodSync(at('dir'), 0o700);
  host.ok('cp', `${at('dir')}/.`, 'box:/odd');
  assert.equal(sh('box', 'stat -c %a /odd'), '711');
});

test('a compressed archive is unpacked', () => {
  running('box', 'true');
  file('dir/file', 'x');
  const archive = execFileSync('tar', ['-C', here, '-cz', 'dir']);
  assert.equal(host.input(archive, 'cp', '-', 'box:/tmp').status, 0);
  assert.equal(sh('box', 'cat /tmp/dir/file'), 'x');
});

test('a large file arrives whole, both ways', () => {
  running('box', 'yes 0123456789 | head -c 67108864 > /large; sha256sum /large > /sum');
  host.ok('cp', 'box:/large', at('large'));
  host.ok('cp', at('large'), 'box:/tmp/again');
  assert.equal(sh('box', 'sha256sum < /tmp/again | cut -c 1-64'), sh('box', 'cut -c 1-64 /sum'));
  assert.equal(lstatSync(at('large')).size, 67_108_864);
});

test('copies are announced', () => {
  running('box', 'true');
  host.ok('cp', file('x', 'x'), 'box:/tmp');
  host.ok('cp', 'box:/tmp/x', at('y'));
  const until = String(Math.floor(Date.now() / 1000) + 1);
  const seen = host.ok(
    'events',
    '--since',
    '0',
    '--until',
    until,
    '--filter',
    'container=box',
    '--format',
    '{{.Action}}',
  );
  assert.match(seen, /extract-to-dir\n(.*\n)*archive-path/);
});
