import {
  type BigIntStats,
  constants,
  createReadStream,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { deviceOf } from '#linux/rooted-directory.ts';
import { invalid } from '#model/errors.ts';
import { goModeOf } from './go-file-mode.ts';
import type { GrpcClient, GrpcStream } from './grpc-client.ts';
import { BytesMessage, type FileStat, PACKET, Packet } from './session-messages.ts';

const DIFF_COPY = 'moby.filesync.v1.FileSend/DiffCopy';
const CHUNK_BYTES = 32 * 1024;

/** Writes a stream of bytes to the file that a client wants its build's output in. */
export async function sendStream(client: GrpcClient, source: Readable, signal: AbortSignal): Promise<void> {
  using stream = client.stream(DIFF_COPY, { signal });
  for await (const data of source as AsyncIterable<Buffer>)
    if (!stream.send(BytesMessage, { data })) await stream.drained();
  stream.end();
  for await (const _ of stream.receive(BytesMessage));
}

/** Copies the tree below `root` to the directory that a client wants its build's output in, by fsutil's DiffCopy. */
export async function sendTree(client: GrpcClient, root: string, signal: AbortSignal): Promise<void> {
  using stream = client.stream(DIFF_COPY, { signal });
  const files: string[] = [];
  for (const stat of statsBelow(root)) {
    files.push(stat.path ?? '');
    if (!stream.send(Packet, { type: PACKET.stat, stat })) await stream.drained();
  }
  stream.send(Packet, { type: PACKET.stat });
  for await (const packet of stream.receive(Packet)) {
    switch (packet.type) {
      case PACKET.request:
        await sendFile(stream, packet.id, join(root, files[packet.id] ?? noFile(packet.id)));
        break;
      case PACKET.error:
        throw invalid(`the client could not take the files: ${Buffer.from(packet.data).toString()}`);
      case PACKET.end:
        stream.send(Packet, { type: PACKET.end });
        stream.end();
        break;
      default:
        throw invalid(`a packet of type ${packet.type} came for the files`);
    }
  }
}

function noFile(id: number): never {
  throw invalid(`the client asks for file ${id}, which there is not`);
}

async function sendFile(stream: GrpcStream, id: number, file: string): Promise<void> {
  // the stream closes it
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  const content = createReadStream('', { fd, highWaterMark: CHUNK_BYTES });
  for await (const data of content as AsyncIterable<Buffer>)
    if (!stream.send(Packet, { type: PACKET.data, id, data })) await stream.drained();
  stream.send(Packet, { type: PACKET.data, id });
}

/** Each directory before what is in it, names in the order of their bytes, as fsutil wants them. */
function* statsBelow(root: string): Generator<Partial<FileStat>> {
  const linked = new Map<string, string>();
  yield* below('');

  function* below(directory: string): Generator<Partial<FileStat>> {
    const names = readdirSync(join(root, directory), { encoding: 'buffer' }).sort(Buffer.compare);
    for (const name of names.map(String)) {
      const path = directory === '' ? name : `${directory}/${name}`;
      const stats = lstatSync(join(root, path), { bigint: true });
      yield statOf(path, stats);
      if (stats.isDirectory()) yield* below(path);
    }
  }

  function statOf(path: string, stats: BigIntStats): Partial<FileStat> {
    const isSymlink = stats.isSymbolicLink();
    const key = `${stats.dev} ${stats.ino}`;
    const first = stats.isFile() && stats.nlink > 1n ? linked.get(key) : undefined;
    if (first === undefined && stats.isFile()) linked.set(key, path);
    const isDevice = stats.isBlockDevice() || stats.isCharacterDevice();
    const { major, minor } = deviceOf(isDevice ? stats.rdev : 0n);
    return {
      path,
      mode: goModeOf(Number(stats.mode)),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      size: stats.isFile() ? Number(stats.size) : 0,
      modTime: Number(stats.mtimeNs),
      linkname: isSymlink ? readlinkSync(join(root, path)) : (first ?? ''),
      devMajor: major,
      devMinor: minor,
    };
  }
}
