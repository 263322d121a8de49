import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mountOverlay, mountOverlayByOptions, unmount } from '#linux/mount.ts';

/** Docker's limit of an image. */
const LAYERS = 127;

for (const mountIt of [mountOverlay, mountOverlayByOptions])
  test(`${mountIt.name} takes as many layers as an image may have, whatever they are called`, () => {
    const root = mkdtempSync(join(tmpdir(), 'drover-overlay-'));
    const directory = (name: string): string => {
      const path = join(root, name);
      mkdirSync(path);
      return path;
    };
    const lowerDirs = Array.from({ length: LAYERS }, (_, i) => {
      const path = directory(`a layer, with a long name: ${'x'.repeat(60)}${i}`);
      writeFileSync(join(path, `file${i}`), String(i));
      writeFileSync(join(path, 'same'), String(i));
      return path;
    });
    const [upper, work, target] = [directory('upper'), directory('work'), directory('target')];
    mountIt({ lowerDirs, upper: { dir: upper, work }, target });
    try {
      assert.equal(readFileSync(join(target, `file${LAYERS - 1}`), 'utf8'), String(LAYERS - 1));
      assert.equal(readFileSync(join(target, 'same'), 'utf8'), '0');
      writeFileSync(join(target, 'same'), 'written');
      assert.equal(readFileSync(join(upper, 'same'), 'utf8'), 'written');
    } finally {
      unmount(target);
      rmSync(root, { recursive: true });
    }
  });
