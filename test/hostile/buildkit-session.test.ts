import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { goModeOf } from '#buildkit/go-file-mode.ts';
import type { GrpcMethod } from '#buildkit/grpc-server.ts';
import { PACKET, Packet } from '#buildkit/session-messages.ts';
import {
  BuildkitClient,
  regular,
  type SentFile,
  sending,
  sendingPackets,
} from '../support/buildkit-client.ts';
import { eventually, hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();
const data = join(host.daemon.directory, 'data');
const outside = join(host.directory, 'outside');

afterEach(async () => {
  const count = (name: string): number => readdirSync(join(data, name)).length;
  await eventually(() => count('builds') + count('build-contexts') === 0, 'no build has files');
  assert.equal(existsSync(outside), false);
});

let sessions = 0;

/** What a build says whose session serves its files this way. */
async function failureWith(serve: GrpcMethod): Promise<string> {
  sessions += 1;
  const name = `hostile-${sessions}`;
  using client = await BuildkitClient.open(host.socket, name, serve);
  let message = '';
  await assert.rejects(client.solve({ ref: name }), (error: Error) => {
    message = error.message;
    return true;
  });
  return message;
}

/** A context that is asked for whole, after its Dockerfile. */
function context(...files: SentFile[]): GrpcMethod {
  const dockerfile = regular('Dockerfile', 'FROM bb\nCOPY . /\n');
  return sending((_, followed) => (followed.length > 0 ? [dockerfile] : files));
}

const directory = (path: string): SentFile => ({ path, mode: goModeOf(0o040755) });
const symlink = (path: string, linkname: string): SentFile => ({ path, mode: goModeOf(0o120777), linkname });

test('names that lead out of a context are no names of files in it', async () => {
  for (const path of [
    '../x',
    '/x',
    'a/../../x',
    '.',
    '..',
    '',
    'a//b',
    'a/',
    './a',
    'a\0b',
    'x'.repeat(5000),
  ])
    assert.match(
      await failureWith(context(directory('a'), regular(path, 'x'))),
      /is no path of a file/,
      path,
    );
});

test('nothing is written through links, before its directory, or twice', async () => {
  const target = join(host.directory, 'outside');
  for (const files of [
    [symlink('l', host.directory), regular('l/outside', 'x')],
    [symlink('l', target), regular('l', 'x')],
    [regular('d/f', 'x'), directory('d')],
    [regular('f', 'x'), regular('f', 'y')],
    [regular('f', 'x'), regular('f/g', 'y')],
  ])
    assert.match(await failureWith(context(...files)), /came out of order/);
});

test('hard links are to files that came', async () => {
  const link = (linkname: string): SentFile => ({ path: 'z', mode: goModeOf(0o100644), linkname });
  for (const name of ['/etc/shadow', '../../x', 'nothing'])
    assert.match(await failureWith(context(link(name))), /which did not come/);
  assert.match(await failureWith(context(directory('d'), link('d'))), /which did not come/);
  assert.match(await failureWith(context(symlink('l', '/etc/shadow'), link('l'))), /which did not come/);
});

test('packets that make no sense end the build', async () => {
  const stat = { type: PACKET.stat, stat: { path: 'f', mode: 0o644 } };
  const data_ = { type: PACKET.data, id: 7, data: Buffer.from('x') };
  const cases: [Partial<Packet>[], RegExp][] = [
    [[data_], /file 7, which was not asked for/],
    [[{ type: PACKET.stat }, { type: PACKET.stat }], /ended twice|before their time/],
    [[{ type: PACKET.stat }, stat], /after the end/],
    [[{ type: 99 }], /packet of type 99/],
    [[stat], /ended before their time/],
    [[stat, { type: PACKET.end }], /ended before their time/],
    [[stat, { type: PACKET.stat }, { type: PACKET.end }], /ended before their time/],
    [[{ type: PACKET.error, data: Buffer.from('no disk') }], /could not send its files: no disk/],
  ];
  for (const [packets, message] of cases)
    assert.match(await failureWith(sendingPackets(() => packets)), message);
});

test('messages that are none, or too large, end the build', async () => {
  const raw = (bytes: Buffer): GrpcMethod =>
    async function* (stream) {
      stream.write(bytes);
      yield Packet.encode({ type: PACKET.stat });
    };
  const head = (flag: number, size: number): Buffer => {
    const bytes = Buffer.alloc(5);
    bytes[0] = flag;
    bytes.writeUInt32BE(size, 1);
    return bytes;
  };
  assert.match(await failureWith(raw(head(0, 2 ** 31))), /broke off|too large/);
  assert.match(await failureWith(raw(head(1, 3))), /broke off|compressed/);
  assert.match(
    await failureWith(raw(Buffer.concat([head(0, 3), Buffer.from([0x12, 0xff, 0xff])]))),
    /no protocol buffers|broke off|path of a file/,
  );
});

test('a session that goes away in the middle of its files leaves nothing', async () => {
  let left = false;
  const stalls: GrpcMethod = async function* (stream) {
    yield Packet.encode({ type: PACKET.stat, stat: { path: 'Dockerfile', mode: 0o644, size: 1e9 } });
    left = true;
    await new Promise((resolve) => {
      stream.once('close', resolve);
    });
  };
  using client = await BuildkitClient.open(host.socket, 'goes', stalls);
  const solving = assert.rejects(client.solve({ ref: 'goes' }), /broke off|gone/);
  await eventually(() => left, 'the files are asked for');
  client.leave();
  await solving;
});
