import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');

/** Each folder of src and what it may import from the others; everything may import itself. */
const LAYERS: Record<string, readonly string[]> = {
  // a client of the API like any other: it starts fast because it loads no engine
  cli: ['cloud', 'compose', 'model'],
  // daemons on one machine: what they are is none of its business
  cloud: ['linux', 'model'],
  daemon: ['api', 'cluster', 'buildkit', 'build', 'registry', 'engine', 'linux', 'control', 'model'],
  api: ['cluster', 'buildkit', 'build', 'registry', 'engine', 'control', 'model'],
  // many hosts; the engine is behind ports of its own
  cluster: ['registry', 'engine', 'linux', 'control', 'model'],
  // a protocol to ask for builds by
  buildkit: ['build', 'engine', 'linux', 'model'],
  // Dockerfile to image; where bases come from is a port of its own
  build: ['engine', 'linux', 'control', 'model'],
  registry: ['engine', 'linux', 'control', 'model'],
  // decides, and does no I/O
  compose: ['model'],
  engine: ['linux', 'control', 'model'],
  control: ['model'],
  // the kernel knows nothing of containers
  linux: [],
  model: [],
};

const sources = globSync('src/**/*.ts', { cwd: ROOT }).sort();

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, path = '']) => path);
}

test('imports point down, by # across folders and ./ inside one', () => {
  const wrong: string[] = [];
  for (const file of sources) {
    const [, folder = ''] = file.split('/');
    for (const path of importsOf(file)) {
      if (path.startsWith('../')) wrong.push(`${file}: ${path} climbs`);
      if (!path.startsWith('#')) continue;
      const target = path.slice(1).split('/')[0] ?? '';
      if (target !== folder && LAYERS[folder]?.includes(target) !== true)
        wrong.push(`${file}: ${path} points up`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('every folder of src has its line in ARCHITECTURE.md and its place among the layers', () => {
  const map = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
  for (const folder of readdirSync(join(ROOT, 'src'))) {
    assert.ok(map.includes(`\`src/${folder}\``), `src/${folder} is not on the map`);
    assert.ok(folder in LAYERS, `src/${folder} is no layer`);
  }
});

test('no file has a name that says nothing', () => {
  const vague = sources.filter((file) => /^(utils?|helpers?|common|misc|index)\b/.test(basename(file)));
  assert.deepEqual(vague, []);
});

test('processes are started in one place of the engine, and one of clouds', () => {
  const starts = (file: string): boolean =>
    /^import (?!type)[^;]*'node:child_process'/m.test(readFileSync(join(ROOT, file), 'utf8'));
  const places = sources.filter(
    (file) => starts(file) && !file.startsWith('src/cli/') && !file.endsWith('.test.ts'),
  );
  assert.deepEqual(places, ['src/cloud/process-launcher.ts', 'src/engine/runtime/process-launcher.ts']);
});
