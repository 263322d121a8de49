import assert from 'node:assert/strict';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import { copyUp } from './copy-up.ts';

function scratch(): Disposable & { root: string; volume: string; home: string } {
  const home = mkdtempSync(join(tmpdir(), 'drover-copy-up-'));
  const root = join(home, 'root');
  const volume = join(home, 'volume', '_data');
  mkdirSync(root);
  mkdirSync(volume, { recursive: true });
  return { home, root, volume, [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }) };
}

test('an empty volume takes over what the image has, links and modes too', async () => {
  using at = scratch();
  mkdirSync(join(at.root, 'data/sub'), { recursive: true });
  writeFileSync(join(at.root, 'data/file'), 'content');
  chmodSync(join(at.root, 'data/file'), 0o4751);
  linkSync(join(at.root, 'data/file'), join(at.root, 'data/sub/same'));
  symlinkSync('/etc/passwd', join(at.root, 'data/link'));
  chmodSync(join(at.root, 'data'), 0o750);
  await copyUp({ rootfs: at.root, path: '/data', volumeDirectory: at.volume });
  assert.equal(readFileSync(join(at.volume, 'file'), 'utf8'), 'content');
  assert.equal(lstatSync(join(at.volume, 'file')).mode & 0o7777, 0o4751);
  assert.equal(lstatSync(join(at.volume, 'sub/same')).ino, lstatSync(join(at.volume, 'file')).ino);
  assert.equal(readlinkSync(join(at.volume, 'link')), '/etc/passwd');
  assert.equal(lstatSync(at.volume).mode & 0o7777, 0o750);
  assert.deepEqual(readdirSync(join(at.home, 'volume')), ['_data']);
});

test('a volume with something in it stays as it is, one half-copied is finished', async () => {
  using at = scratch();
  mkdirSync(join(at.root, 'data'));
  writeFileSync(join(at.root, 'data/file'), 'image');
  writeFileSync(join(at.volume, 'own'), 'mine');
  await copyUp({ rootfs: at.root, path: '/data', volumeDirectory: at.volume });
  assert.deepEqual(readdirSync(at.volume), ['own']);
  writeFileSync(join(at.home, 'volume', 'copying'), '');
  writeFileSync(join(at.volume, 'file'), 'im');
  await copyUp({ rootfs: at.root, path: '/data', volumeDirectory: at.volume });
  assert.equal(readFileSync(join(at.volume, 'file'), 'utf8'), 'image');
  assert.deepEqual(readdirSync(at.volume), ['file', 'own']);
});

test('links in the path stay inside the root', () => {
  using at = scratch();
  mkdirSync(join(at.root, 'real/deep'), { recursive: true });
  symlinkSync('/real', join(at.root, 'absolute'));
  symlinkSync('../../../../real', join(at.root, 'climbing'));
  symlinkSync('loop', join(at.root, 'loop'));
  assert.equal(resolveInRoot(at.root, '/absolute/deep'), join(at.root, 'real/deep'));
  assert.equal(resolveInRoot(at.root, '/climbing/deep'), join(at.root, 'real/deep'));
  assert.equal(resolveInRoot(at.root, '/../../real'), join(at.root, 'real'));
  assert.equal(resolveInRoot(at.root, '/loop/x'), undefined);
  assert.equal(resolveInRoot(at.root, '/missing'), undefined);
});
