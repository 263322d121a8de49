import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { Nftables } from '#linux/nftables.ts';
import { hasCode } from '#linux/system-call-error.ts';

const O_CLOEXEC = 0o2000000;

test('no socket of nftables is inherited: a monitor of a container would hold another one’s network with it', () => {
  const inherited = (): string[] =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        if (!readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')) return false;
        const flags = /^flags:\s+([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
        return (Number.parseInt(flags ?? '', 8) & O_CLOEXEC) === 0 && Number(fd) > 2;
      } catch (error) {
        // the directory's own
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      }
    });
  const before = inherited();
  using tables = new Nftables();
  tables.run('list tables');
  assert.deepEqual(
    inherited().filter((fd) => !before.includes(fd)),
    [],
  );
});
