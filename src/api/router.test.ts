import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Method, Route } from './route.ts';
import { Router } from './router.ts';

function route(method: Method, path: string): Route {
  return { method, path, operation: path, handler: () => undefined };
}

const router = new Router([
  route('GET', '/images/json'),
  route('GET', '/images/{name}/json'),
  route('GET', '/images/{name}/get'),
  route('GET', '/images/get'),
  route('DELETE', '/images/{name}'),
  route('POST', '/images/{name}/push'),
  route('GET', '/containers/{id}/json'),
  route('POST', '/containers/{id}/attach'),
]);

function found(method: string, path: string): [string, Record<string, string | undefined>] | undefined {
  const match = router.find(method, path);
  return match === undefined ? undefined : [match.route.path, { ...match.params }];
}

test('paths with and without parameters', () => {
  assert.deepEqual(found('GET', '/images/json'), ['/images/json', {}]);
  assert.deepEqual(found('GET', '/images/web/json'), ['/images/{name}/json', { name: 'web' }]);
  assert.deepEqual(found('GET', '/containers/a%20b/json'), ['/containers/{id}/json', { id: 'a b' }]);
});

test('names of images hold slashes', () => {
  assert.deepEqual(found('GET', '/images/reg:5000/a/b:1/json'), [
    '/images/{name}/json',
    { name: 'reg:5000/a/b:1' },
  ]);
  assert.deepEqual(found('DELETE', '/images/a/json'), ['/images/{name}', { name: 'a/json' }]);
  assert.deepEqual(found('GET', '/images/a%2Fb/json'), ['/images/{name}/json', { name: 'a/b' }]);
});

test('what there is no route for is not found', () => {
  assert.equal(found('GET', '/nothing'), undefined);
  assert.equal(found('PATCH', '/images/json'), undefined);
  assert.equal(found('GET', '/containers/a/b/json'), undefined);
  assert.equal(found('GET', '/images/%zz/json'), undefined);
  assert.equal(found('GET', '/containers/../../etc/json'), undefined);
});
