import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { test } from 'node:test';
import { readProject } from '#compose/project-reader.ts';
import { stackRequest } from '#compose/stack-request.ts';

const STACKS = join(import.meta.dirname, 'golden/stacks');
const DIRECTORY = '/srv/stack';
const VARIABLES: Record<string, string> = { PGDATA: '/data', PLACE: 'home', BLOG_PASSWORD: 'sesame' };

/** The stack of a Compose file, called `shop`, and what was said about it on the way. */
function convert(file: string): object {
  const warnings: string[] = [];
  const project = readProject({
    files: [{ name: basename(file), text: readFileSync(file, 'utf8') }],
    directory: DIRECTORY,
    name: 'shop',
    environment: (name) => VARIABLES[name],
    profiles: [],
    resolvePath: (path) => resolve(DIRECTORY, path),
    readFile: (path) => (path === join(DIRECTORY, 'db.env') ? 'POSTGRES_USER=shop' : undefined),
    warn: (message) => warnings.push(message),
  });
  const readContent = (path: string): Buffer => Buffer.from(`content of ${path}`);
  const stack = stackRequest(project, { readContent, warn: (message) => warnings.push(message) });
  return JSON.parse(JSON.stringify({ stack, warnings }));
}

for (const file of globSync(join(STACKS, '*.yaml')).sort()) {
  test(`${basename(file)} becomes the stack that is kept beside it`, () => {
    const golden = file.replace(/\.yaml$/, '.json');
    const converted = convert(file);
    // DROVER_UPDATE_GOLDEN=1 writes what is now, for review
    if (process.env['DROVER_UPDATE_GOLDEN'] === '1')
      writeFileSync(golden, `${JSON.stringify(converted, undefined, 2)}\n`);
    assert.ok(existsSync(golden), `${golden} is missing`);
    assert.deepEqual(converted, JSON.parse(readFileSync(golden, 'utf8')));
  });
}
