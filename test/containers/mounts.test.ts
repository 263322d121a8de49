import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listMounts, mountTmpfs, unmount } from '#linux/mount.ts';
import type { MountSpec } from '#model/container.ts';
import { EngineFixture } from './engine-fixture.ts';

let engine: EngineFixture;
let host: string;
before(async () => {
  engine = await EngineFixture.make('dvc2');
  host = mkdtempSync(join(tmpdir(), 'drover-bind-'));
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  rmSync(host, { recursive: true, force: true });
});

test('an empty volume takes over what the image has, one with something in it does not', async () => {
  const first = await engine.run(['ls', '-A', '/bin/busybox'], { host: { Binds: ['tools:/bin'] } });
  assert.equal(first.stdout, '/bin/busybox\n');
  const { Mountpoint } = engine.volumes.resolve('tools');
  for (const name of readdirSync(Mountpoint)) rmSync(join(Mountpoint, name));
  writeFileSync(join(Mountpoint, 'mark'), '');
  const second = await engine.create(['ls'], { host: { Binds: ['tools:/bin'] } });
  await assert.rejects(engine.containers.startContainer(second));
  const bare = await engine.run(['ls', '/tools'], { host: { Binds: ['empty:/tools:nocopy'] } });
  assert.equal(bare.stdout, '');
});

test('binds are the host’s files, read-only where asked; missing sources are made for -v only', async () => {
  writeFileSync(join(host, 'file'), 'from the host');
  const run = await engine.run(['sh', '-c', 'cat /in/file; touch /in/x; echo $?; echo back > /out/file'], {
    host: { Binds: [`${host}:/in:ro`, `${host}/made:/out`] },
  });
  assert.equal(run.stdout, 'from the host1\n');
  assert.equal(readFileSync(join(host, 'made/file'), 'utf8'), 'back\n');
  const missing = join(host, 'missing');
  await assert.rejects(
    engine.create(['true'], { host: { Mounts: [{ Type: 'bind', Source: missing, Target: '/x' }] } }),
    { message: `invalid mount config for type "bind": bind source path does not exist: ${missing}` },
  );
});

test('a read-only bind is so with all that is mounted below it, unless that is to stay writable', async () => {
  const below = join(host, 'below');
  mkdirSync(below);
  mountTmpfs({ target: below });
  try {
    const bind = { Type: 'bind', Source: host, Target: '/in' } as const;
    const write = async (hostConfig: object): Promise<string> =>
      (
        await engine.run(['sh', '-c', 'touch /in/below/x && echo written || echo refused'], {
          host: hostConfig,
        })
      ).stdout;
    assert.equal(await write({ Binds: [`${host}:/in:ro`] }), 'refused\n');
    assert.equal(await write({ Mounts: [{ ...bind, ReadOnly: true }] }), 'refused\n');
    const BindOptions = { ReadOnlyNonRecursive: true };
    assert.equal(await write({ Mounts: [{ ...bind, ReadOnly: true, BindOptions }] }), 'written\n');
    assert.equal(await write({ Mounts: [bind] }), 'written\n');
    // files have nothing below them
    const file = { host: { Binds: [`${join(host, 'file')}:/in/file:ro`] } };
    assert.equal((await engine.run(['cat', '/in/file'], file)).stdout, 'from the host');
  } finally {
    unmount(below);
  }
});

test('a path in a volume is mounted alone, a directory or a file, and is gone with the run', async () => {
  await engine.run(
    [
      'sh',
      '-c',
      'mkdir -p /v/part/deep && echo in > /v/part/deep/file && echo conf > /v/conf && ln -s part/deep /v/link',
    ],
    { host: { Binds: ['whole:/v'] } },
  );
  const part = (Target: string, Subpath: string, ReadOnly = false): MountSpec => {
    return { Type: 'volume', Source: 'whole', Target, ReadOnly, VolumeOptions: { Subpath } };
  };
  const before = listMounts().length;
  const run = await engine.run(
    ['sh', '-c', 'ls /x; cat /x/deep/file /y /z/file; echo back > /x/new; echo > /y || echo refused'],
    { host: { Mounts: [part('/x', 'part'), part('/y', './conf', true), part('/z', 'link')] } },
  );
  assert.equal(run.stdout, 'deep\nin\nconf\nin\nrefused\n');
  assert.equal(listMounts().length, before);
  const { Mountpoint } = engine.volumes.resolve('whole');
  assert.equal(readFileSync(join(Mountpoint, 'part/new'), 'utf8'), 'back\n');
  assert.equal(readFileSync(join(Mountpoint, 'conf'), 'utf8'), 'conf\n');
});

test('a path in a volume leads nowhere else', async () => {
  await engine.run(['sh', '-c', 'ln -s /etc /v/out; ln -s ../../../../../../../../etc /v/up'], {
    host: { Binds: ['narrow:/v'] },
  });
  const starts = async (Subpath: string): Promise<unknown> => {
    const mount = { Type: 'volume', Source: 'narrow', Target: '/x', VolumeOptions: { Subpath } } as const;
    return engine.containers.startContainer(await engine.create(['true'], { host: { Mounts: [mount] } }));
  };
  const before = listMounts().length;
  for (const path of ['out', 'up', 'none', 'out/passwd'])
    await assert.rejects(starts(path), new RegExp(`cannot access path .*/narrow/_data/${path}: `), path);
  for (const path of ['/etc', '..', 'a/../../b'])
    await assert.rejects(starts(path), /subpath must be a relative path within the volume/, path);
  assert.equal(listMounts().length, before);
});

test('tmpfs is there with its size and mode, and gone with the container', async () => {
  const run = await engine.run(
    ['sh', '-c', "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'; echo x > /t/x"],
    {
      host: { Tmpfs: { '/t': 'size=1m,mode=700' } },
    },
  );
  assert.equal(run.stdout, '700\n1024\n');
});

test('volumes of another container are lent, and a volume in use is not removed', async () => {
  const { id: lender } = await engine.run(['sh', '-c', 'echo lent > /data/file'], {
    host: { Binds: ['/data'] },
  });
  const run = await engine.run(['cat', '/data/file'], { host: { VolumesFrom: [`${lender}:ro`] } });
  assert.equal(run.stdout, 'lent\n');
  const name = engine.containers.resolve(lender).mounts[0]?.Name ?? '';
  await assert.rejects(engine.volumes.remove(name, { force: false, users: [lender] }), {
    message: `remove ${name}: volume is in use - [${lender}]`,
  });
  await engine.containers.remove(lender, { force: true, volumes: true, link: false });
  assert.equal(engine.volumes.resolve(name).Name, name);
});

test('a volume of type tmpfs is mounted while somebody uses it', async () => {
  engine.volumes.create({ Name: 'fast', DriverOpts: { type: 'tmpfs', device: 'tmpfs', o: 'size=64k' } });
  const { Mountpoint } = engine.volumes.resolve('fast');
  const isMounted = (): boolean => listMounts().some(({ target }) => target === Mountpoint);
  const id = await engine.create(['sleep', '100'], { host: { Binds: ['fast:/fast'] } });
  await engine.containers.startContainer(id);
  assert.equal(isMounted(), true);
  await engine.containers.stopContainer(id, { timeoutSeconds: 0 });
  assert.equal(isMounted(), false);
});

test('volumes are refused by name where they make no sense', async () => {
  assert.throws(() => engine.volumes.create({ Name: 'x', Driver: 'nfs' }), {
    message: 'error looking up volume plugin nfs: plugin "nfs" not found',
  });
  assert.throws(() => engine.volumes.create({ Name: '../x' }), /includes invalid characters/);
  assert.throws(() => engine.volumes.create({ Name: 'y' }), /volume name is too short/);
  assert.throws(() => engine.volumes.resolve('none'), { message: 'get none: no such volume' });
});
