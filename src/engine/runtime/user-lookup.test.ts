import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ResolvedUser, resolveUser } from './user-lookup.ts';

const passwd = [
  'root:x:0:0:root:/root:/bin/sh',
  'web:x:33:34:web:/var/www:',
  'broken',
  '',
  'nohome:x:7:7::',
].join('\n');
const group = ['root:x:0:', 'staff:x:50:web,other', 'disk:x:6:web', 'empty:x:9:'].join('\n');
const user = (text: string, groupAdd: string[] = []): ResolvedUser =>
  resolveUser({ user: text, groupAdd, passwd, group });

test('users and groups by name and by number', () => {
  assert.deepEqual(user(''), { uid: 0, gid: 0, additionalGids: [0], home: '/root' });
  assert.deepEqual(user('web'), { uid: 33, gid: 34, additionalGids: [34, 50, 6], home: '/var/www' });
  // Known by its number it is the same user.
  assert.deepEqual(user('33'), user('web'));
  assert.deepEqual(user('1234'), { uid: 1234, gid: 0, additionalGids: [0], home: '/' });
  assert.deepEqual(user('nohome').home, '/');
});

test('a group that is named replaces the memberships; groups that are added come to them', () => {
  assert.deepEqual(user('web:disk'), { uid: 33, gid: 6, additionalGids: [6], home: '/var/www' });
  assert.deepEqual(user('web:77').gid, 77);
  assert.deepEqual(user('web', ['empty', '50', '4242']).additionalGids, [34, 50, 6, 9, 4242]);
});

test('what is not there is said so', () => {
  assert.throws(() => user('nobody'), /unable to find user nobody/);
  assert.throws(() => user('web:nogroup'), /unable to find group nogroup/);
  assert.throws(() => user('99999999999'), /unable to find user/);
  assert.throws(() => user('-1'), /unable to find user/);
});
