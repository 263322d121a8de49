import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bootId } from '#linux/process-identity.ts';
import { FenceDirectory } from './fence-directory.ts';

/** A directory of its own, gone at the end of the test. */
function temporary(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'drover-fence-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test('what one process writes another one reads', () => {
  using home = temporary();
  const daemon = new FenceDirectory(home.path);
  const keeper = new FenceDirectory(home.path);
  daemon.make();
  assert.equal(keeper.validUntilMs(), 0);
  assert.equal(daemon.hasKeeper(), false);
  daemon.extendTo(5000);
  daemon.add('a', '/drover/1');
  keeper.enter();
  assert.equal(keeper.validUntilMs(), 5000);
  assert.deepEqual([...(keeper.tasks() ?? [])], [['a', '/drover/1']]);
  assert.equal(daemon.hasKeeper(), true);
  daemon.delete('a');
  daemon.delete('a');
  assert.equal(keeper.tasks()?.size, 0);
  keeper.leave();
  assert.equal(daemon.hasKeeper(), false);
});

test('a lease and a keeper of before the restart are none', () => {
  using home = temporary();
  const directory = new FenceDirectory(home.path);
  directory.make();
  directory.extendTo(5000);
  directory.enter();
  for (const name of ['lease', 'keeper']) {
    const file = join(home.path, name);
    writeFileSync(file, readFileSync(file, 'utf8').replace(bootId(), 'another-boot'));
  }
  assert.equal(directory.validUntilMs(), 0);
  assert.equal(directory.hasKeeper(), false);
});

test('a directory that was taken away has no tasks to look after', () => {
  using home = temporary();
  const directory = new FenceDirectory(home.path);
  directory.make();
  rmSync(home.path, { recursive: true });
  assert.equal(directory.tasks(), undefined);
});
