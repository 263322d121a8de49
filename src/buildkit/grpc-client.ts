import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { cancelled, unavailable } from '#model/errors.ts';
import { drained, errorIn, framed, messagesOf } from './grpc-frames.ts';
import type { Message } from './protobuf.ts';

/** Bytes that may be on their way in one call: contexts come this way. */
const WINDOW_BYTES = 4 * 1024 * 1024;

export interface CallOptions {
  /** Several values of one name are sent as several headers. */
  metadata?: Readonly<Record<string, string | string[]>>;
  signal: AbortSignal;
}

/** Calls the services of whoever is at the other end of a connection (gRPC over HTTP/2). Disposing of it ends the connection. */
export class GrpcClient implements Disposable {
  readonly #session: ClientHttp2Session;

  constructor(socket: Duplex) {
    this.#session = connect('http://localhost', {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
    });
    // The calls that it ends say so.
    this.#session.on('error', () => this.#session.destroy());
    // a connection that was taken over stays half open when its other end has gone
    socket.once('end', () => this.#session.destroy());
    this.#session.once('connect', () => this.#session.setLocalWindowSize(WINDOW_BYTES));
  }

  /** Settled when the connection has ended. */
  async closed(): Promise<void> {
    if (this.#session.destroyed) return;
    await new Promise<void>((resolve) => {
      this.#session.once('close', resolve);
    });
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }

  /** Asks for one answer; rejects with the client's error, or with `unavailable` where it has gone. */
  async call<Q, A>(
    method: string,
    types: { request: Message<Q>; answer: Message<A> },
    request: Partial<Q>,
    o: CallOptions,
  ): Promise<A> {
    using stream = this.stream(method, o);
    stream.send(types.request, request);
    stream.end();
    let answer: A | undefined;
    for await (const each of stream.receive(types.answer)) answer = each;
    if (answer === undefined) throw unavailable(`the client's ${method} gave no answer`);
    return answer;
  }

  stream(method: string, o: CallOptions): GrpcStream {
    if (this.#session.destroyed) throw unavailable('the client has gone');
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': `/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...o.metadata,
    });
    return new GrpcStream(stream, method, o.signal);
  }
}

/** One call with messages both ways. Disposing of it before its end cancels it. */
export class GrpcStream implements Disposable {
  readonly #stream: ClientHttp2Stream;
  readonly #method: string;
  readonly #signal: AbortSignal;
  readonly #abort = (): void => {
    this.#stream.destroy();
  };
  #error: Error | undefined;

  constructor(stream: ClientHttp2Stream, method: string, signal: AbortSignal) {
    this.#stream = stream;
    this.#method = method;
    this.#signal = signal;
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      this.#error ??= errorIn(headers, method);
    };
    stream.on('response', note);
    stream.on('trailers', note);
    // told by `receive`
    stream.on('error', () => stream.destroy());
    if (signal.aborted) stream.destroy();
    else signal.addEventListener('abort', this.#abort, { once: true });
  }

  /** False where it is better to wait for {@link drained} before more is sent. */
  send<T>(type: Message<T>, value: Partial<T>): boolean {
    return !this.#stream.destroyed && this.#stream.write(framed(type.encode(value)));
  }

  drained(): Promise<void> {
    return drained(this.#stream);
  }

  /** There is nothing more to send. */
  end(): void {
    this.#stream.end();
  }

  /** What comes, to the call's end; throws where that is an error. */
  async *receive<T>(type: Message<T>): AsyncGenerator<T> {
    try {
      yield* messagesOf(this.#stream, type);
    } catch (cause) {
      if (this.#signal.aborted) throw cancelled('the build was cancelled', { cause });
      throw this.#error ?? unavailable(`the client's ${this.#method} broke off`, { cause });
    }
    if (this.#error !== undefined) throw this.#error;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#abort);
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
  }
}
