import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interpolate, parseEnvFile } from './interpolation.ts';

const SET: Record<string, string> = { NAME: 'web', EMPTY: '' };

function expand(text: string): string {
  return interpolate(
    text,
    (name) => SET[name],
    () => undefined,
  );
}

test('variables are replaced, with defaults and alternatives', () => {
  const cases: [string, string][] = [
    ['$NAME-1', 'web-1'],
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: Compose's syntax is what is tested
    ['${NAME}', 'web'],
    ['${NONE:-other}', 'other'],
    ['${EMPTY:-other}', 'other'],
    ['${EMPTY-other}', ''],
    ['${NAME:+there}', 'there'],
    ['${NONE+there}', ''],
    ['${NONE:-${NAME:-x}}', 'web'],
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: Compose's syntax is what is tested
    ['costs $$5', 'costs $5'],
  ];
  for (const [text, expected] of cases) assert.equal(expand(text), expected, text);
});

test('what is missing or malformed is refused', () => {
  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: Compose's syntax is what is tested
  assert.throws(() => expand('${NONE:?give it}'), {
    message: 'required variable NONE is missing a value: give it',
  });
  assert.throws(() => expand('${NAME'), /brace is not closed/);
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: Compose's syntax is what is tested
  assert.throws(() => expand('a $ b'), /write \$\$ for a dollar sign/);
});

test('variables that are not set are told', () => {
  const missing: string[] = [];
  assert.equal(
    interpolate(
      '$NONE',
      () => undefined,
      (name) => missing.push(name),
    ),
    '',
  );
  assert.deepEqual(missing, ['NONE']);
});

test('.env files: quotes, comments, export', () => {
  const values = parseEnvFile('# no\nA=1\nexport B="two\\nlines"\nC=\'$raw\'\nD=x # comment\n');
  assert.deepEqual(
    [...values],
    [
      ['A', '1'],
      ['B', 'two\nlines'],
      ['C', '$raw'],
      ['D', 'x'],
    ],
  );
});
