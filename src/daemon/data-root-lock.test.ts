import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DataRootLock, readPid } from './data-root-lock.ts';
import { Pidfile } from './pidfile.ts';

test('a data root has one daemon, and the second is told which', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-lock-'));
  try {
    {
      using _lock = new DataRootLock(directory);
      const script = `
        const { DataRootLock } = await import(${JSON.stringify(import.meta.resolve('./data-root-lock.ts'))});
        try { new DataRootLock(${JSON.stringify(directory)}); } catch (error) { console.log(error.message); }`;
      const second = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
      assert.match(second.stdout, new RegExp(`${directory} is in use by a daemon with PID ${process.pid}`));
    }
    using _again = new DataRootLock(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a pid file of a process that is no daemon, or is gone, is taken over', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-pid-'));
  try {
    const file = join(directory, 'sub', 'drover.pid');
    {
      using _first = new Pidfile(file);
      assert.equal(readPid(file), process.pid);
    }
    assert.equal(readPid(file), undefined);
    for (const stale of ['1\n', '4194303\n', 'nonsense']) {
      writeFileSync(file, stale);
      using _taken = new Pidfile(file);
      assert.equal(readPid(file), process.pid);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
