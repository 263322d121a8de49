import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostConfig, MountPoint } from '#model/container.ts';
import { notFound } from '#model/errors.ts';
import { completeHostConfig } from './host-config.ts';
import { type PlannedMount, planMounts } from './mount-points.ts';
import { containerRecord } from './record-builder.ts';

function plan(
  asked: Partial<HostConfig>,
  o: { volumes?: string[]; lender?: MountPoint[] } = {},
): PlannedMount[] {
  const { volumes = [], lender } = o;
  return planMounts({
    hostConfig: completeHostConfig(asked, { cpus: 2, cgroupVersion: 2, runtimeName: 'crun' }),
    imageVolumes: Object.fromEntries(volumes.map((path) => [path, {}])),
    container: (reference) => {
      if (lender === undefined) throw notFound(`No such container: ${reference}`);
      return containerRecord({ mounts: lender });
    },
  });
}

test('binds are directories of the host or named volumes', () => {
  const [data, cache] = plan({ Binds: ['/srv/./data/:/data:ro', 'cache:/cache'] });
  assert.deepEqual(data, {
    Type: 'bind',
    Source: '/srv/data',
    Destination: '/data',
    Mode: 'ro',
    RW: false,
    Propagation: 'rprivate',
    createSource: true,
    recursivelyReadOnly: true,
  });
  assert.equal(cache?.Type, 'volume');
  assert.equal(cache?.Name, 'cache');
  assert.equal(cache?.copyUp, true);
  assert.equal(plan({ Binds: ['cache:/cache:nocopy'] })[0]?.copyUp, false);
  assert.equal(plan({ Binds: ['/data'] })[0]?.anonymous, true);
});

test('parents come before what lies in them', () => {
  const order = plan({ Binds: ['b:/a/b', 'a:/a'], Tmpfs: { '/a/b/c': '' } }).map(
    (mount) => mount.Destination,
  );
  assert.deepEqual(order, ['/a', '/a/b', '/a/b/c']);
});

test('the image’s volumes give way to what was asked', () => {
  const mounts = plan({ Binds: ['/srv:/data'] }, { volumes: ['/data/', '/logs'] });
  assert.deepEqual(
    mounts.map(({ Type, Destination }) => `${Type} ${Destination}`),
    ['bind /data', 'volume /logs'],
  );
});

test('tmpfs carries safe options unless they are taken back', () => {
  assert.deepEqual(plan({ Tmpfs: { '/run': 'exec,size=1m' } })[0]?.options, [
    'nosuid',
    'nodev',
    'exec',
    'size=1m',
  ]);
  const spec = {
    Type: 'tmpfs' as const,
    Source: '',
    Target: '/t',
    TmpfsOptions: { SizeBytes: 4096, Mode: 0o700 },
  };
  assert.deepEqual(plan({ Mounts: [spec] })[0]?.options, [
    'noexec',
    'nosuid',
    'nodev',
    'mode=700',
    'size=4096',
  ]);
});

test('volumes of another container are lent, read-only when asked', () => {
  const lender: MountPoint[] = [
    {
      Type: 'volume',
      Name: 'v',
      Source: '/v',
      Destination: '/v',
      Mode: '',
      RW: true,
      Propagation: '',
      anonymous: true,
    },
    { Type: 'tmpfs', Source: '', Destination: '/t', Mode: '', RW: true, Propagation: '' },
  ];
  const [lent, ...rest] = plan({ VolumesFrom: ['other:ro'] }, { lender });
  assert.equal(rest.length, 0);
  assert.equal(lent?.Name, 'v');
  assert.equal(lent?.RW, false);
  assert.equal(lent?.anonymous, undefined);
  assert.throws(() => plan({ VolumesFrom: ['none'] }), { message: 'No such container: none' });
});

test('what makes no sense is refused in Docker’s words', () => {
  const bind = (text: string): Partial<HostConfig> => ({ Binds: [text] });
  const refused: [Partial<HostConfig>, string | RegExp][] = [
    [bind('a:b:c:d'), "invalid volume specification: 'a:b:c:d'"],
    [bind(':/a'), "invalid volume specification: ':/a'"],
    [bind('/a:b'), /invalid mount path: 'b' mount path must be absolute$/],
    [bind('/a:/'), /invalid specification: destination can't be '\/'$/],
    [bind('/a:/b/..'), /destination can't be '\/'$/],
    [bind('/a:/b:rw,ro'), "invalid volume specification: '/a:/b:rw,ro': invalid mode: rw,ro"],
    [bind('/a:/b:what'), /invalid mode: what$/],
    [bind('../x:/b'), /includes invalid characters for a local volume name/],
    [{ Binds: ['/a:/x', '/b:/x/'] }, 'Duplicate mount point: /x'],
    [
      { Mounts: [{ Type: 'bind', Source: '', Target: '/x' }] },
      'invalid mount config for type "bind": field Source must not be empty',
    ],
    [
      { Mounts: [{ Type: 'tmpfs', Source: '', Target: '/x', BindOptions: {} }] },
      'invalid mount config for type "tmpfs": field BindOptions must not be specified',
    ],
    [{ Tmpfs: { '/x': 'wrong=1' } }, 'invalid tmpfs option ["wrong=1"]'],
  ];
  for (const [asked, message] of refused) assert.throws(() => plan(asked), { kind: 'invalid', message });
});
