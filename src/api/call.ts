import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { EngineParts } from './engine-parts.ts';
import type { ApiVersion } from './version.ts';

/** A connection that its client asked to take over: attach and exec speak their own protocol on it. */
export interface TakenConnection {
  /** Not to be read before the request's body was. */
  readonly socket: Duplex;
  /** What the client sent after its request already. */
  readonly head: Buffer;
  /** `Upgrade: tcp` is answered 101; clients of old ask without and are answered 200. */
  readonly style: 'upgrade' | 'bare';
}

/** One request on its way through a handler. */
export class Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly parts: EngineParts;
  readonly query: URLSearchParams;
  readonly version: ApiVersion;
  readonly connection: TakenConnection | undefined;
  readonly #params: Readonly<Record<string, string | undefined>>;
  #abort: AbortController | undefined;

  constructor(o: {
    request: IncomingMessage;
    response: ServerResponse;
    parts: EngineParts;
    query: URLSearchParams;
    version: ApiVersion;
    params: Readonly<Record<string, string | undefined>>;
    connection: TakenConnection | undefined;
  }) {
    this.request = o.request;
    this.response = o.response;
    this.parts = o.parts;
    this.query = o.query;
    this.version = o.version;
    this.#params = o.params;
    this.connection = o.connection;
  }

  /** A `{name}` of the route's path. */
  param(name: string): string {
    const value = this.#params[name];
    if (value === undefined) throw new Error(`the route has no parameter ${name}`);
    return value;
  }

  /** Aborted when the client leaves before it has its answer. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const abort = new AbortController();
      this.#abort = abort;
      const source = this.connection?.socket ?? this.response;
      if (source.destroyed) abort.abort();
      else source.once('close', () => abort.abort());
    }
    return this.#abort.signal;
  }

  json(status: number, body: unknown): void {
    const text = `${JSON.stringify(body)}\n`;
    this.response.writeHead(status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(text),
    });
    this.response.end(text);
  }

  empty(status: number): void {
    this.response.writeHead(status);
    this.response.end();
  }

  /** Sends the answer's head now; clients such as the CLI's `wait` go on only then. */
  startStream(mediaType: string): ServerResponse {
    this.response.writeHead(200, { 'Content-Type': mediaType });
    this.response.flushHeaders();
    return this.response;
  }

  /**
   * Answers the request and leaves the connection to the caller, who ends it. Only where {@link connection} is there; `protocol` is
   * what it is upgraded to.
   */
  takeConnection(mediaType: string | undefined, protocol = 'tcp'): Duplex {
    if (this.connection === undefined) throw new Error('the client did not ask to take over the connection');
    const { socket, head, style } = this.connection;
    this.response.detachSocket(this.request.socket);
    const type = mediaType === undefined ? '' : `Content-Type: ${mediaType}\r\n`;
    socket.write(
      style === 'upgrade'
        ? `HTTP/1.1 101 UPGRADED\r\n${type}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`
        : `HTTP/1.1 200 OK\r\n${type}\r\n`,
    );
    if (head.length > 0) socket.unshift(head);
    return socket;
  }
}
