import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');
const PAGES = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT });

const page = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

test('every link between the pages leads somewhere', () => {
  for (const path of PAGES) {
    for (const [, target = ''] of page(path).matchAll(/\]\((?!https?:)([^)#]+)/g))
      assert.ok(existsSync(join(ROOT, dirname(path), target)), `${path} links to ${target}`);
  }
});

test('every page is linked from another one', () => {
  const linked = PAGES.flatMap((path) =>
    [...page(path).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, target = '']) =>
      join(dirname(path), target),
    ),
  );
  for (const path of PAGES.filter((name) => name !== 'README.md'))
    assert.ok(
      linked.some((target) => path === target || path.startsWith(`${target}/`)),
      `nothing leads to ${path}`,
    );
});

test('the scripts and commands that the pages name are there', () => {
  const { scripts }: { scripts: Record<string, string> } = JSON.parse(page('package.json'));
  const program = globSync('src/cli/*.ts', { cwd: ROOT }).map(page).join('');
  for (const path of PAGES) {
    const text = page(path);
    for (const [, name = ''] of text.matchAll(/npm run ([\w:]+)/g))
      assert.ok(name in scripts, `${path}: npm run ${name}`);
    for (const [, name = ''] of text.matchAll(/bin\/drover ([a-z]+)/g))
      assert.match(program, new RegExp(`'${name}[ ']`), `${path}: drover ${name}`);
    for (const [, file = ''] of text.matchAll(/`((?:src|test|scripts|bench)\/[\w./-]+\.ts)`/g))
      assert.ok(existsSync(join(ROOT, file)), `${path}: ${file}`);
  }
});
