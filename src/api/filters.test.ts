import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesLabels } from '#model/filters.ts';
import { booleanFilter, parseFilters, untilFilter } from './filters.ts';

test('both spellings of filters are read', () => {
  assert.deepEqual(parseFilters('{"label":["a","b=c"]}', ['label']), { label: ['a', 'b=c'] });
  assert.deepEqual(parseFilters('{"label":{"a":true,"b":false}}', ['label']), { label: ['a'] });
  assert.deepEqual(parseFilters(null, []), {});
  assert.deepEqual(parseFilters('', []), {});
  assert.deepEqual(parseFilters('null', []), {});
});

test('what is not a filter is refused by name', () => {
  assert.throws(() => parseFilters('{"colour":["red"]}', ['label']), { message: "invalid filter 'colour'" });
  assert.throws(() => parseFilters('{"label":"a"}', ['label']), { message: "invalid filter 'label'" });
  assert.throws(() => parseFilters('{"label":[1]}', ['label']), /invalid filter 'label/);
  assert.throws(() => parseFilters('[]', ['label']), /invalid filter/);
  assert.throws(() => parseFilters('{', ['label']), { message: 'invalid filter: {' });
});

test('labels match by key, by value, and by their absence', () => {
  const labels = { app: 'web', tier: '' };
  assert.equal(matchesLabels({}, labels), true);
  assert.equal(matchesLabels({ label: ['app'] }, labels), true);
  assert.equal(matchesLabels({ label: ['app=web', 'tier='] }, labels), true);
  assert.equal(matchesLabels({ label: ['app=store'] }, labels), false);
  assert.equal(matchesLabels({ 'label!': ['app'] }, labels), false);
  assert.equal(matchesLabels({ 'label!': ['toString'] }, labels), true);
});

test('truth values', () => {
  assert.equal(booleanFilter({}, 'dangling'), undefined);
  assert.equal(booleanFilter({ dangling: ['true'] }, 'dangling'), true);
  assert.equal(booleanFilter({ dangling: ['0'] }, 'dangling'), false);
  assert.throws(() => booleanFilter({ dangling: ['maybe'] }, 'dangling'), /dangling=\[maybe\]/);
  assert.throws(() => booleanFilter({ dangling: ['true', 'false'] }, 'dangling'), /invalid filter/);
});

test('until is a moment or a duration before now', () => {
  const now = Date.parse('2026-01-02T00:00:00Z');
  assert.equal(untilFilter({}, now), undefined);
  assert.equal(untilFilter({ until: ['1h30m'] }, now), now - 90 * 60_000);
  assert.equal(untilFilter({ until: ['1700000000'] }, now), 1_700_000_000_000);
  assert.equal(untilFilter({ until: ['2026-01-01T00:00:00Z'] }, now), now - 86_400_000);
  assert.throws(() => untilFilter({ until: ['soon'] }, now), /until=\[soon\]/);
});
