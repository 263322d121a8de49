import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineEvent } from '#model/event.ts';
import { eventFilter } from './event-filter.ts';

const die: EngineEvent = {
  Type: 'container',
  Action: 'die',
  Actor: { ID: 'abcdef0123456789', Attributes: { name: 'web', image: 'nginx:1', exitCode: '1', app: 'x' } },
  scope: 'local',
  time: 1,
  timeNano: 1e9,
};

test('events by condition', () => {
  assert.equal(eventFilter({})(die), true);
  assert.equal(eventFilter({ type: ['container', 'image'] })(die), true);
  assert.equal(eventFilter({ type: ['image'] })(die), false);
  assert.equal(eventFilter({ event: ['die', 'start'] })(die), true);
  assert.equal(eventFilter({ event: ['start'] })(die), false);
  assert.equal(eventFilter({ container: ['web'] })(die), true);
  assert.equal(eventFilter({ container: ['abcdef01'] })(die), true);
  assert.equal(eventFilter({ container: ['store'] })(die), false);
  assert.equal(eventFilter({ network: ['web'] })(die), false);
  assert.equal(eventFilter({ image: ['nginx'] })(die), true);
  assert.equal(eventFilter({ image: ['redis'] })(die), false);
  assert.equal(eventFilter({ label: ['app=x'] })(die), true);
  assert.equal(eventFilter({ label: ['app=y'] })(die), false);
});

test('an action stands for what follows its colon', () => {
  const exec = { ...die, Action: 'exec_create: sh -c true' };
  assert.equal(eventFilter({ event: ['exec_create'] })(exec), true);
  assert.equal(eventFilter({ event: ['exec'] })(exec), false);
});
