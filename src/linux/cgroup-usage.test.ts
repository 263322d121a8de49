import assert from 'node:assert/strict';
import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { separateUsage, unifiedUsage } from './cgroup-usage.ts';

/** A cgroup file system with these files. */
function tree(files: Readonly<Record<string, string>>): { path: string } & Disposable {
  const at = mkdtempDisposableSync(join(tmpdir(), 'drover-cgroup-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(at.path, name)), { recursive: true });
    writeFileSync(join(at.path, name), text);
  }
  return { path: at.path, [Symbol.dispose]: () => at.remove() };
}

test('v2: one directory tells everything, in microseconds', async () => {
  using at = tree({
    'a/b/cpu.stat':
      'usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 7\nnr_throttled 2\nthrottled_usec 30\n',
    'a/b/memory.current': '4096\n',
    'a/b/memory.max': '8192\n',
    'a/b/memory.stat': 'anon 1024\ninactive_file 512\n',
    'a/b/pids.current': '3\n',
    'a/b/pids.max': 'max\n',
    'a/b/io.stat':
      '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:1 rbytes=5 wbytes=0 rios=1 wios=0\n',
  });
  assert.deepEqual(await unifiedUsage(at.path, '/a/b'), {
    cpu: {
      totalNs: 1_500_000,
      userNs: 1_000_000,
      kernelNs: 500_000,
      periods: 7,
      throttledPeriods: 2,
      throttledNs: 30_000,
    },
    memory: { bytes: 4096, limitBytes: 8192, statistics: { anon: 1024, inactive_file: 512 } },
    pids: { current: 3 },
    io: {
      bytes: [
        { major: 8, minor: 0, operation: 'read', value: 10 },
        { major: 8, minor: 0, operation: 'write', value: 20 },
        { major: 253, minor: 1, operation: 'read', value: 5 },
        { major: 253, minor: 1, operation: 'write', value: 0 },
      ],
    },
  });
});

test('v1: a directory a controller, in ticks and nanoseconds', async () => {
  using at = tree({
    'cpuacct/x/cpuacct.usage': '1500\n',
    'cpuacct/x/cpuacct.usage_percpu': '1000 500 \n',
    'cpuacct/x/cpuacct.stat': 'user 3\nsystem 2\n',
    'cpu/x/cpu.stat': 'nr_periods 7\nnr_throttled 2\nthrottled_time 30\n',
    'memory/x/memory.usage_in_bytes': '4096\n',
    'memory/x/memory.max_usage_in_bytes': '5000\n',
    'memory/x/memory.failcnt': '1\n',
    'memory/x/memory.limit_in_bytes': '9223372036854771712\n',
    'memory/x/memory.stat': 'cache 1024\ntotal_inactive_file 512\n',
    'pids/x/pids.current': '3\n',
    'pids/x/pids.max': '50\n',
    'blkio/x/blkio.throttle.io_service_bytes_recursive': '8:0 Read 10\n8:0 Write 20\nTotal 30\n',
    'blkio/x/blkio.throttle.io_serviced_recursive': 'Total 0\n',
  });
  assert.deepEqual(await separateUsage(at.path, '/x'), {
    cpu: {
      totalNs: 1500,
      userNs: 30_000_000,
      kernelNs: 20_000_000,
      perCpuNs: [1000, 500],
      periods: 7,
      throttledPeriods: 2,
      throttledNs: 30,
    },
    memory: {
      bytes: 4096,
      maximumBytes: 5000,
      failures: 1,
      statistics: { cache: 1024, total_inactive_file: 512 },
    },
    pids: { current: 3, limit: 50 },
    io: {
      bytes: [
        { major: 8, minor: 0, operation: 'Read', value: 10 },
        { major: 8, minor: 0, operation: 'Write', value: 20 },
      ],
      operations: [],
    },
  });
});

test('a cgroup that is gone used nothing', async () => {
  using at = tree({});
  const { cpu, memory, pids } = await unifiedUsage(at.path, '/gone');
  assert.deepEqual([cpu.totalNs, memory.bytes, pids.current], [0, 0, 0]);
});
