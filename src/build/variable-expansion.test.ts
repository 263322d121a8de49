import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandKeepingQuotes, expandWord, expandWords } from './variable-expansion.ts';

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: the Dockerfile's syntax is what is tested
const VALUES: Record<string, string> = { a: 'A', empty: '', path: 'x/y/file.tar.gz', list: '80 443' };
const variables = (name: string): string | undefined => VALUES[name];
const word = (text: string): string => expandWord(text, { variables, escapeToken: '\\' });

test('variables, quotes and escapes', () => {
  for (const [text, expected] of [
    ['$a', 'A'],
    ['${a}b$a', 'AbA'],
    ['$missing.', '.'],
    ["'$a'", '$a'],
    ['"$a \\"q\\" \\n"', 'A "q" \\n'],
    ['\\$a', '$a'],
    ['a\\ b', 'a b'],
    ['$', '$'],
    ['${a:-d}${missing:-d $a}${empty:-e}${empty-e}', 'Ad Ae'],
    ['${a:+set}${missing:+set}${empty+set}${empty:+set}', 'setset'],
    ['${path#*/}', 'y/file.tar.gz'],
    ['${path##*/}', 'file.tar.gz'],
    ['${path%.*}', 'x/y/file.tar'],
    ['${path%%.*}', 'x/y/file'],
    ['${path/\\//-}', 'x-y/file.tar.gz'],
    ['${path//\\//-}', 'x-y-file.tar.gz'],
    ['${a:?must be}', 'A'],
  ] as const)
    assert.equal(word(text), expected, text);
});

test('what cannot be expanded is refused', () => {
  for (const [text, message] of [
    ['${missing:?must be set}', /missing: must be set/],
    ['${empty:?}', /empty: is not set/],
    ['${a', /unsupported modifier|missing/],
    ['${a:-b', /missing \}/],
    ['"open', /double-quote/],
    ["'open", /single-quote/],
    ['${}', /bad substitution/],
    ['${a!x}', /unsupported modifier \(!\)/],
  ] as const)
    assert.throws(() => word(text), message, text);
});

test('words split at blanks outside of quotes, also those of unquoted variables', () => {
  const words = (text: string): string[] => expandWords(text, { variables, escapeToken: '\\' });
  assert.deepEqual(words('a "b c" $list "$list" d\\ e'), ['a', 'b c', '80', '443', '80 443', 'd e']);
  assert.deepEqual(words('  '), []);
  assert.deepEqual(words('$missing x'), ['x']);
});

test('a heredoc keeps its quotes', () => {
  assert.equal(expandKeepingQuotes('say "$a" \'$a\' \\$a \\n\n', variables, '\\'), 'say "A" \'A\' $a \\n\n');
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: the Dockerfile's syntax is what is tested
