import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heredocNames, type ParsedDockerfile, parseDockerfile } from './dockerfile-parser.ts';
import { DockerfileProblem } from './dockerfile-problem.ts';

const parse = (text: string): ParsedDockerfile => parseDockerfile(text, 'Dockerfile');

function refused(text: string, message: RegExp, line: number): void {
  assert.throws(
    () => parse(text),
    (error) => error instanceof DockerfileProblem && message.test(error.message) && error.place.line === line,
    text,
  );
}

test('instructions: keywords in any case, flags, comments, continued lines', () => {
  const { instructions, warnings } = parse(
    [
      '# a comment',
      'from bb as base',
      'RUN one \\',
      '  # a comment between',
      '',
      '  two',
      'COPY --from=base --chown="1:2" a b /c/',
      'CMD ["a", "b"]',
      'RUN [not json',
    ].join('\n'),
  );
  assert.deepEqual(
    instructions.map(({ keyword, rest, json, place }) => [keyword, rest, json, place.line, place.endLine]),
    [
      ['FROM', 'bb as base', undefined, 2, 2],
      ['RUN', 'one   two', undefined, 3, 6],
      ['COPY', 'a b /c/', undefined, 7, 7],
      ['CMD', '["a", "b"]', ['a', 'b'], 8, 8],
      ['RUN', '[not json', undefined, 9, 9],
    ],
  );
  assert.deepEqual(instructions[2]?.flags, [
    { name: 'from', value: 'base' },
    { name: 'chown', value: '1:2' },
  ]);
  assert.deepEqual(
    warnings.map(({ message }) => message),
    ['empty continuation line'],
  );
});

test('heredocs: bodies, tabs, quotes, several, and none inside of quotes', () => {
  const { instructions } = parse(
    [
      'FROM bb',
      'RUN <<EOF cat - <<-"OTHER"',
      'a $x',
      'EOF',
      '\tb',
      '\tOTHER',
      'COPY <<one <<two /d/',
      '1',
      'one',
      'two',
      'RUN echo "<<EOF" \'<<X\' 1<<<word',
    ].join('\n'),
  );
  assert.deepEqual(instructions[1]?.heredocs, [
    { name: 'EOF', content: 'a $x\n', expands: true, descriptor: '' },
    { name: 'OTHER', content: 'b\n', expands: false, descriptor: '' },
  ]);
  assert.deepEqual(
    instructions[2]?.heredocs.map(({ name, content }) => [name, content]),
    [
      ['one', '1\n'],
      ['two', ''],
    ],
  );
  assert.equal(instructions[3]?.heredocs.length, 0);
  assert.deepEqual(heredocNames('cat 3<<X'), [
    { name: 'X', stripsTabs: false, expands: true, descriptor: '3' },
  ]);
});

test('parser directives: escape, syntax, and where they end', () => {
  const parsed = parse('# escape=`\n# syntax=docker/dockerfile:1.7-labs\nFROM bb\nRUN a `\n b\\');
  assert.deepEqual([parsed.escapeToken, parsed.syntax], ['`', 'docker/dockerfile:1.7-labs']);
  assert.equal(parsed.instructions[1]?.rest, 'a  b\\');
  assert.equal(parse('# just a comment\n# escape=`\nFROM bb').escapeToken, '\\');
  refused('# escape=x\nFROM bb', /invalid escape token/, 1);
  refused('# syntax=a\n', /frontend a cannot be run/, 1);
  refused('# escape=`\n# escape=`\nFROM bb', /only one escape/, 2);
});

test('errors name the place and show the text around it', () => {
  refused('FROM bb\nRUM true', /unknown instruction: RUM \(did you mean RUN\?\)/, 2);
  refused('FROM bb\n\n  COPYY a b', /COPYY \(did you mean COPY\?\)/, 3);
  refused('FROM bb\nRUN <<EOF\nnever', /unterminated heredoc: EOF/, 2);
  refused('FROM bb\nENV', /ENV requires at least one argument/, 2);
  refused('\n# nothing\n', /is empty/, 1);
  try {
    parse('FROM bb\nLABEL a=b\n  FOO x\nRUN y\nRUN z');
    assert.fail('it was taken');
  } catch (error) {
    assert.equal(
      error instanceof Error ? error.message : '',
      [
        'Dockerfile:3:3: unknown instruction: FOO',
        '  1 | FROM bb',
        '  2 | LABEL a=b',
        '> 3 |   FOO x',
        '    |   ^',
        '  4 | RUN y',
        '  5 | RUN z',
      ].join('\n'),
    );
  }
});

test('no text makes the parser do anything but read or refuse', () => {
  const pieces = [
    'FROM',
    ' bb',
    '\\',
    '\n',
    '<<',
    'EOF',
    '"',
    "'",
    '--a=',
    '#',
    '[',
    ']',
    'RUN',
    '\t',
    '`',
    '$',
  ];
  let seed = 7;
  for (let round = 0; round < 3000; round++) {
    let text = '';
    for (let i = 0; i < 12; i++) {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      text += pieces[seed % pieces.length] ?? '';
    }
    try {
      parse(text);
    } catch (error) {
      assert.ok(error instanceof DockerfileProblem, `${JSON.stringify(text)}: ${String(error)}`);
    }
  }
});
