import type { Http2Stream } from 'node:http2';
import { DroverError, type ErrorKind, internal, invalid, kindOf, messageOf } from '#model/errors.ts';
import type { Message } from './protobuf.ts';

/** A message is held whole: no client of BuildKit's sends any that come near. */
const LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024;
const HEAD_BYTES = 5;

/** gRPC's status codes for the kinds of errors that have one of their own. */
const CODES: readonly (readonly [ErrorKind, number])[] = [
  ['cancelled', 1],
  ['invalid', 3],
  ['not-found', 5],
  ['forbidden', 7],
  ['conflict', 9],
  ['not-implemented', 12],
  ['unavailable', 14],
  ['unauthorized', 16],
];
const UNKNOWN = 2;
/** What clients tell apart; of other errors they show the code before the message, which people can do without. */
const TOLD: ReadonlySet<ErrorKind> = new Set(['cancelled', 'not-implemented', 'unavailable']);

/** A message as gRPC sends it over HTTP/2: a flag that says that it is not compressed, its length, and it. */
export function framed(data: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(data.length, 1);
  return Buffer.concat([head, data]);
}

/** Settled when a stream takes more, or has ended. */
export async function drained(stream: Http2Stream): Promise<void> {
  if (stream.destroyed || !stream.writableNeedDrain) return;
  await new Promise<void>((resolve) => {
    stream.once('drain', resolve);
    stream.once('close', resolve);
  });
}

/** The messages of a stream as they come. Throws what ends the stream before its time. */
export async function* messagesOf<T>(stream: Http2Stream, type: Message<T>): AsyncGenerator<T> {
  let held: Buffer[] = [];
  let length = 0;
  let needed = HEAD_BYTES;
  // who has what he wants may still have something to say
  const chunks: AsyncIterable<Buffer> = stream.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    held.push(chunk);
    length += chunk.length;
    if (length < needed) continue;
    let all = Buffer.concat(held);
    for (needed = neededFor(all); all.length >= needed; needed = neededFor(all)) {
      yield decoded(type, all.subarray(HEAD_BYTES, needed));
      all = all.subarray(needed);
    }
    held = [all];
    length = all.length;
  }
  if (length > 0) throw invalid('a message ended before its time');
}

/** Bytes of the message that begins here, with its head; of the head alone where that is not there yet. */
function neededFor(data: Buffer): number {
  if (data.length < HEAD_BYTES) return HEAD_BYTES;
  if (data[0] !== 0) throw invalid('a compressed message came where none was agreed on');
  const size = data.readUInt32BE(1);
  if (size > LARGEST_MESSAGE_BYTES) throw invalid(`a message of ${size} bytes is too large`);
  return HEAD_BYTES + size;
}

function decoded<T>(type: Message<T>, data: Buffer): T {
  try {
    return type.decode(data);
  } catch (cause) {
    throw invalid('what came is no protocol buffers message', { cause });
  }
}

/** The trailer that says how a call ended. */
export function trailerOf(error: unknown): Record<string, string> {
  if (error === undefined) return { 'grpc-status': '0' };
  const kind = kindOf(error);
  const code = TOLD.has(kind) ? CODES.find(([each]) => each === kind)?.[1] : undefined;
  const hint = error instanceof DroverError && error.hint !== undefined ? `. ${error.hint}` : '';
  return {
    'grpc-status': String(code ?? UNKNOWN),
    'grpc-message': encodeURIComponent(messageOf(error) + hint),
  };
}

/** The error that a call's trailer tells of; undefined where it went well. */
export function errorIn(headers: Readonly<Record<string, unknown>>, method: string): DroverError | undefined {
  const status = Number(headers['grpc-status'] ?? 0);
  if (status === 0) return undefined;
  const said = decodeLeniently(String(headers['grpc-message'] ?? ''));
  const message = `the client's ${method} failed: ${said === '' ? `gRPC status ${status}` : said}`;
  const [kind] = CODES.find(([, code]) => code === status) ?? [];
  return kind === undefined ? internal(message) : new DroverError(kind, message);
}

function decodeLeniently(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
