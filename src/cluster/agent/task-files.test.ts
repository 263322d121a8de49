import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TaskFile } from './assigned-task.ts';
import { placedFiles } from './task-files.ts';

function file(name: string, change: Partial<TaskFile['target']> = {}): TaskFile {
  return { id: name, target: { Name: name, UID: '0', GID: '0', Mode: 0o444, ...change }, data: 'eA==' };
}

test('secrets lie in /run/secrets, configs in the root, both anywhere they ask for', () => {
  const placed = placedFiles({
    secrets: [file('key', { Mode: 0o400, UID: '5', GID: '6' }), file('/etc/key')],
    configs: [file('app.conf'), file('sub/app.conf'), file('/etc/app.conf')],
  });
  assert.deepEqual(
    placed.map(({ name, target }) => `${name} ${target}`),
    [
      'secret-0 /run/secrets/key',
      'secret-1 /etc/key',
      'config-0 /app.conf',
      'config-1 /sub/app.conf',
      'config-2 /etc/app.conf',
    ],
  );
  const [first] = placed;
  assert.deepEqual([first?.uid, first?.gid, first?.mode, String(first?.data)], [5, 6, 0o400, 'x']);
});

for (const bad of [
  file('../key'),
  file('.'),
  file('/'),
  file('key', { UID: 'root' }),
  file('key', { GID: '-1' }),
]) {
  test(`a secret at ${bad.target.Name} of ${bad.target.UID}:${bad.target.GID} is refused`, () => {
    assert.throws(() => placedFiles({ secrets: [bad], configs: [] }), { kind: 'invalid' });
  });
}
