import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDriverOptions, driverMount } from './driver-options.ts';

test('options of the local driver are mounts', () => {
  assert.equal(driverMount({}), undefined);
  assert.deepEqual(driverMount({ type: 'tmpfs', device: 'tmpfs', o: 'size=1m,rw,uid=1000' }), {
    type: 'tmpfs',
    source: 'tmpfs',
    options: 'size=1m,uid=1000',
    bind: false,
    readOnly: false,
  });
  assert.equal(driverMount({ type: 'none', device: '/srv', o: 'bind,ro' })?.bind, true);
});

test('what the driver does not take is refused by name', () => {
  const refused: [Record<string, string>, RegExp][] = [
    [{ size: '1' }, /^create v: invalid option: "size"$/],
    [{ type: 'nfs', device: ':/x', o: 'addr=1.2.3.4' }, /volumes of type "nfs" are not there yet/],
    [{ type: 'tmpfs' }, /missing device in volume options/],
    [{ device: '/x' }, /missing required option: "type"/],
    [{ type: 'tmpfs', device: 'tmpfs', o: 'noexec' }, /mount option "noexec"/],
    [{ type: 'none', device: '/x' }, /takes the option "bind"/],
  ];
  for (const [options, message] of refused)
    assert.throws(() => checkDriverOptions('v', options), { message });
  checkDriverOptions('v', {});
  checkDriverOptions('v', { type: 'none', device: '/srv', o: 'bind' });
});
