import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { invalid, notImplemented } from '#model/errors.ts';
import { drained, framed, messagesOf, trailerOf } from './grpc-frames.ts';
import type { Message } from './protobuf.ts';

/** What a method knows of a call besides its request. */
export interface CallContext {
  /** Of the call's metadata; undefined where it is not there. */
  header(name: string): string | undefined;
  /** Aborted when the caller gives up. */
  readonly signal: AbortSignal;
}

/** Serves one method: takes the request, gives the answers, encoded. */
export type GrpcMethod = (stream: ServerHttp2Stream, context: CallContext) => AsyncIterable<Buffer>;

/** A method with one request and one answer. */
export function unary<Q, A>(
  types: { request: Message<Q>; answer: Message<A> },
  serve: (request: Q, context: CallContext) => Promise<Partial<A>>,
): GrpcMethod {
  return streaming(types, async function* (request, context) {
    yield await serve(request, context);
  });
}

/** A method with one request and as many answers as there are. */
export function streaming<Q, A>(
  types: { request: Message<Q>; answer: Message<A> },
  serve: (request: Q, context: CallContext) => AsyncIterable<Partial<A>>,
): GrpcMethod {
  return async function* (stream, context) {
    for await (const request of messagesOf(stream, types.request)) {
      for await (const answer of serve(request, context)) yield types.answer.encode(answer);
      return;
    }
    throw invalid('the call has no request');
  };
}

/**
 * Serves gRPC over HTTP/2 on a connection that was taken over. `methods` are by `package.Service/Method`. The connection lasts as
 * long as its client wants, or until what is given is destroyed; what a method throws is the status of its call.
 */
export function serveGrpc(socket: Duplex, methods: ReadonlyMap<string, GrpcMethod>): ServerHttp2Session {
  const session = performServerHandshake(socket, { settings: { maxConcurrentStreams: 100 } });
  session.on('error', () => session.destroy());
  // a connection that was taken over stays half open when its other end has gone
  socket.once('end', () => session.destroy());
  session.on('stream', (stream, headers) => {
    // a caller that leaves ends its call, which is all that there is to say
    stream.on('error', () => stream.destroy());
    const gone = new AbortController();
    stream.once('close', () => gone.abort());
    const path = String(headers[':path'] ?? '').slice(1);
    const context: CallContext = {
      header: (name) => {
        const value = headers[name];
        return Array.isArray(value) ? value[0] : value;
      },
      signal: gone.signal,
    };
    answer(stream, { path, method: methods.get(path) }, context).catch(() => stream.destroy());
  });
  return session;
}

async function answer(
  stream: ServerHttp2Stream,
  { path, method }: { path: string; method: GrpcMethod | undefined },
  context: CallContext,
): Promise<void> {
  let failure: unknown;
  stream.once('wantTrailers', () => stream.sendTrailers(trailerOf(failure)));
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  try {
    if (method === undefined)
      throw notImplemented(`${path} is not there: Drover serves the calls that builds are made of`);
    for await (const data of method(stream, context)) {
      if (stream.destroyed) return;
      if (!stream.write(framed(data))) await drained(stream);
    }
  } catch (error) {
    failure = error;
  }
  if (!stream.destroyed) stream.end();
}
