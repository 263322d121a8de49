import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from './command.ts';

/** What an action was given, by the name of its command. */
interface Given {
  operands: unknown[];
  flags: object;
}

/** A command line with one command of each kind, and what the last one was given. */
function scene(): { root: Command<[], { host?: string }>; given: () => Given | undefined } {
  let last: Given | undefined;
  const take = (flags: object, ...operands: unknown[]): void => {
    last = { operands, flags };
  };
  const root: Command<[], { host?: string }> = new Command('tool')
    .description('A tool.')
    .version('1.2.3')
    .option('-H, --host <address>', 'where');
  root
    .command('build <path> [more...]')
    .description('build it')
    .list('-t, --tag <name>', 'a name')
    .option('-q, --quiet', 'say less')
    .option('--no-cache', 'do all again')
    .option('--progress <kind>', 'how to show it', 'auto')
    .option('--target <stage>', 'the last stage')
    .number('--limit <bytes>', 'at most')
    .number('--retries <number>', 'how often', 3)
    .action((path, more, flags) => {
      // The types are those of the declarations.
      const typed: [
        string,
        string[],
        string[],
        boolean,
        boolean,
        string,
        string | undefined,
        number | undefined,
      ] = [
        ...([path, more, flags.tag, flags.quiet, flags.cache] as const),
        ...([flags.progress, flags.target, flags.limit] as const),
      ];
      assert.equal(typed[0], path);
      take(flags, path, more);
    });
  root
    .command('cut <name> [node]')
    .option('--from <nodes...>', 'these')
    .action((name, node, flags) => take(flags, name, node));
  root
    .command('exec <name> <command...>')
    .option('-i, --interactive', 'with input')
    .passThrough()
    .action((name, command, flags) => take(flags, name, command));
  root.later(['far'], async () => {
    root.command('far').action((flags) => take(flags, 'far'));
  });
  return { root, given: () => last };
}

async function read(line: string): Promise<Given | undefined> {
  const { root, given } = scene();
  assert.equal(await root.run(line.split(' ')), true);
  return given();
}

test('operands and flags come as they are declared, with what they are without being given', async () => {
  const without = { tag: [], quiet: false, cache: true, progress: 'auto', retries: 3 };
  const table: [string, Given][] = [
    ['build .', { operands: ['.', []], flags: without }],
    [
      'build -q -t a --tag=b --no-cache . x y',
      { operands: ['.', ['x', 'y']], flags: { ...without, tag: ['a', 'b'], quiet: true, cache: false } },
    ],
    ['build -qt a .', { operands: ['.', []], flags: { ...without, tag: ['a'], quiet: true } }],
    [
      'build --quiet=false --limit 5 --retries=0 --progress plain --target -x .',
      {
        operands: ['.', []],
        flags: { ...without, limit: 5, retries: 0, progress: 'plain', target: '-x' },
      },
    ],
    ['build -t - -- -q', { operands: ['-q', []], flags: { ...without, tag: ['-'] } }],
    ['cut c n --from a b', { operands: ['c', 'n'], flags: { from: ['a', 'b'] } }],
    ['cut --from a --from b -- c', { operands: ['c', undefined], flags: { from: ['a', 'b'] } }],
    [
      'exec -i c sh -c x --help',
      { operands: ['c', ['sh', '-c', 'x', '--help']], flags: { interactive: true } },
    ],
    ['exec c -- -v', { operands: ['c', ['--', '-v']], flags: { interactive: false } }],
    ['-H unix:///x far', { operands: ['far'], flags: {} }],
  ];
  for (const [line, expected] of table) assert.deepEqual(await read(line), expected, line);
});

test("a group's flags come before its command and are known when that runs", async () => {
  const { root } = scene();
  await root.run(['-H', 'unix:///x', 'far']);
  assert.deepEqual(root.flags(), { host: 'unix:///x' });
  await assert.rejects(read('far -H unix:///x'), { message: 'unknown option: -H' });
});

test('what there is not is refused, with what may have been meant', async () => {
  const table: [string, string, string?][] = [
    ['biuld .', 'unknown command: biuld (did you mean build?)', 'tool'],
    ['farr', 'unknown command: farr (did you mean far?)', 'tool'],
    ['build --tga x .', 'unknown option: --tga (did you mean --tag?)'],
    ['build -x .', 'unknown option: -x'],
    ['build', '<path> is missing'],
    ['cut a b c', 'too many arguments: c', 'tool cut'],
    ['build . --target', 'option --target <stage> needs a value'],
    ['build --quiet=perhaps .', 'option -q, --quiet is true or false, not perhaps'],
    ['build --limit much .', 'option --limit <bytes>: much is no number'],
    ['build --limit -1 .', 'option --limit <bytes>: -1 is no number'],
  ];
  for (const [line, message, path = 'tool build'] of table)
    await assert.rejects(read(line), { kind: 'invalid', message, hint: `See '${path} --help'.` }, line);
});

test('a page says what there is, in columns', async () => {
  const { root } = scene();
  assert.equal(
    await root.help(),
    `Usage: tool [options] [command]

A tool.

Options:
  -H, --host <address>      where
  -v, --version             show the version
  -h, --help                show this page

Commands:
  build <path> [more...]    build it
  cut <name> [node]
  exec <name> <command...>
  far
`,
  );
});
