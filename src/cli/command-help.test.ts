import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatHelp } from './command-help.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

function drover(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
    encoding: 'utf8',
  });
}

test('descriptions are wrapped beside their column, and not where there is no room for one', () => {
  const page = {
    usage: 'tool',
    description: '',
    options: [],
    commands: [{ usage: 'one <name>', description: 'twenty letters and more than fit into a line' }],
    texts: ['\nExamples:\n  tool one x'],
  };
  assert.equal(
    formatHelp(page, 50),
    `Usage: tool

Commands:
  one <name>  twenty letters and more than fit
              into a line

Examples:
  tool one x
`,
  );
  assert.match(formatHelp(page, 30), /one <name> {2}twenty letters and more than fit into a line\n/);
});

test('each command that drover lists has its page, also by help', () => {
  const { status, stdout } = drover('--help');
  assert.equal(status, 0);
  const list = stdout.slice(stdout.indexOf('\nCommands:'), stdout.indexOf('\nExamples:'));
  const listed = [...list.matchAll(/^ {2}([a-z]+)(?: |$)/gm)];
  const names = listed.map(([, name]) => name ?? '');
  for (const name of ['build', 'deploy', 'stack', 'cloud', 'cluster', 'service', 'network'])
    assert.ok(names.includes(name), name);
  for (const name of names) {
    const page = drover(name, '--help');
    assert.deepEqual([page.status, page.stderr], [0, ''], name);
    assert.ok(page.stdout.startsWith(`Usage: drover ${name} [options]`), page.stdout);
    assert.equal(drover('help', name).stdout, page.stdout);
  }
  assert.match(drover('help', 'image', 'tree').stdout, /^Usage: drover image tree \[options\]\n/);
});

test('a group that is named alone shows what is in it and fails; what is wrong has exit code 2', () => {
  const alone = drover('image');
  assert.deepEqual([alone.status, alone.stdout], [1, '']);
  assert.match(alone.stderr, /^Usage: drover image \[options\] \[command\]\n/);
  const wrong = drover('image', 'tere');
  assert.equal(wrong.status, 2);
  assert.equal(
    wrong.stderr,
    "error: unknown command: tere (did you mean tree?)\nSee 'drover image --help'.\n",
  );
});
