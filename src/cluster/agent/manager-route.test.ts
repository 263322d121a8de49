import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManagerRoute } from './manager-route.ts';

test('managers are asked in turn, and one that failed not before the others', () => {
  const route = new ManagerRoute(['a', 'b', 'c'], 1);
  assert.equal(route.next(), 'b');
  route.failed('b');
  assert.equal(route.next(), 'c');
  assert.equal(route.next(), 'a');
  assert.equal(route.next(), 'c');
});

test('when all have failed, all are asked again', () => {
  const route = new ManagerRoute(['a', 'b'], 0);
  for (const manager of ['a', 'b', 'a', 'b']) {
    assert.equal(route.next(), manager);
    route.failed(manager);
  }
});

test('who is said to lead is asked next, but not one that has just failed', () => {
  const route = new ManagerRoute(['a', 'b', 'c'], 0);
  assert.equal(route.redirect('c'), true);
  assert.equal(route.next(), 'c');
  route.failed('c');
  assert.equal(route.next(), 'a');
  assert.equal(route.redirect('c'), false, 'the manager does not know yet');
  assert.equal(route.next(), 'b');
  assert.equal(route.redirect('c'), true, 'it may be there again');
  assert.equal(route.next(), 'c');
});

test('managers that come are asked, also by who knew only the first', () => {
  const route = new ManagerRoute(['a'], 0);
  route.replace(['a', 'b']);
  route.replace([]);
  route.failed('a');
  assert.equal(route.next(), 'b');
  route.succeeded();
  assert.equal(route.next(), 'a');
});

test('where no manager is known there is none to ask', () => {
  assert.equal(new ManagerRoute([], 0).next(), undefined);
});
