import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReference, referenceKey } from './reference.ts';

test('names are completed as docker pull does', () => {
  for (const [text, name, familiar, tag] of [
    ['nginx', 'docker.io/library/nginx', 'nginx', 'latest'],
    ['nginx:1.27', 'docker.io/library/nginx', 'nginx', '1.27'],
    ['team/app', 'docker.io/team/app', 'team/app', 'latest'],
    ['docker.io/nginx', 'docker.io/library/nginx', 'nginx', 'latest'],
    ['index.docker.io/library/nginx', 'docker.io/library/nginx', 'nginx', 'latest'],
    ['localhost/app', 'localhost/app', 'localhost/app', 'latest'],
    [
      'registry.example.org:5000/a/b:c',
      'registry.example.org:5000/a/b',
      'registry.example.org:5000/a/b',
      'c',
    ],
    ['[::1]:5000/a', '[::1]:5000/a', '[::1]:5000/a', 'latest'],
  ] as const) {
    const parsed = parseReference(text);
    assert.deepEqual([parsed.name, parsed.familiar], [name, familiar], text);
    assert.equal(referenceKey(parsed), `${name}:${tag}`);
  }
});

test('a digest pins', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  assert.deepEqual(parseReference(`app:v1@${digest}`), {
    ...{ name: 'docker.io/library/app', familiar: 'app', tag: 'v1', digest },
  });
});

test('what is no name is refused', () => {
  for (const text of [
    ...['', ':', 'a:', '/a', 'a/', 'a//b', '..', '../a', 'a/../b', './a', '-a/b', 'a_-b', 'a b', 'a:b:c'],
    ...[
      'a@sha256:short',
      `a@sha512:${'a'.repeat(128)}`,
      '.example.org/a',
      'example..org/a',
      'x:y/a',
      'a\u0000',
    ],
    `${'a'.repeat(256)}`,
  ])
    assert.throws(() => parseReference(text), /invalid reference format/, JSON.stringify(text));
  assert.throws(() => parseReference('Nginx'), /must be lowercase/);
});
