import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { DroverError, type ErrorKind, invalid, messageOf, unavailable } from '#model/errors.ts';

const DEFAULT_HOST = 'unix:///var/run/drover.sock';
const API = '/v1.51';
const KINDS: Record<number, ErrorKind> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  409: 'conflict',
  501: 'not-implemented',
  503: 'unavailable',
};

/** A client of the daemon's API, over its unix socket. Errors carry the daemon's message. */
export class ApiClient {
  readonly #socketPath: string;

  /** `host` as in DOCKER_HOST; default `unix:///var/run/drover.sock`. */
  constructor(host: string | undefined) {
    const address = host === undefined || host === '' ? DEFAULT_HOST : host;
    if (!address.startsWith('unix://'))
      throw invalid(`unable to use host ${address}: drover talks to unix:// sockets`);
    this.#socketPath = address.slice('unix://'.length);
  }

  /** The parsed answer; undefined where there is none. */
  async call<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.open(method, path, text, undefined, headers);
    const answer = await readAll(response);
    return (answer === '' ? undefined : JSON.parse(answer)) as T;
  }

  /** The lines of a stream of JSON objects, as they come. */
  async *lines(method: string, path: string, body?: Readable, signal?: AbortSignal): AsyncGenerator<unknown> {
    yield* this.#lines(await this.open(method, path, body, signal));
  }

  /** The same, of a call with JSON as its body. */
  async *post(
    path: string,
    body: object | undefined,
    o: { headers?: Record<string, string>; signal?: AbortSignal },
  ): AsyncGenerator<unknown> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    yield* this.#lines(await this.open('POST', path, text, o.signal, o.headers));
  }

  async *#lines(response: IncomingMessage): AsyncGenerator<unknown> {
    let rest = '';
    response.setEncoding('utf8');
    for await (const chunk of response) {
      const parts = (rest + String(chunk)).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) if (part.trim() !== '') yield JSON.parse(part);
    }
    if (rest.trim() !== '') yield JSON.parse(rest);
  }

  /** Sends a request; resolves with an answer below 400, rejects with the daemon's error. */
  open(
    method: string,
    path: string,
    body?: string | Readable,
    signal?: AbortSignal,
    extraHeaders: Record<string, string> = {},
  ): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers =
      body === undefined
        ? {}
        : { 'Content-Type': typeof body === 'string' ? 'application/json' : 'application/x-tar' };
    // Not imported: that would load all that the module can do, which takes a third of a short command's time.
    const { request } = process.getBuiltinModule('node:http');
    const { connect } = process.getBuiltinModule('node:net');
    const outgoing = request({
      // Not by an agent, which first finds out whether a host that there is not is an address.
      createConnection: () => connect(this.#socketPath),
      method,
      path: API + path,
      headers: { ...headers, ...extraHeaders },
      ...(signal === undefined ? {} : { signal }),
    });
    outgoing.once('error', (cause) => reject(connectionError(this.#socketPath, cause)));
    outgoing.once('response', (response) => {
      const status = response.statusCode ?? 500;
      if (status < 400) resolve(response);
      else
        readAll(response).then(
          (text) => reject(new DroverError(KINDS[status] ?? 'internal', errorMessage(text))),
          reject,
        );
    });
    if (body === undefined || typeof body === 'string') outgoing.end(body);
    else body.pipe(outgoing);
    return promise;
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
}

function errorMessage(text: string): string {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) return String(parsed.message);
  } catch {
    return text;
  }
  return text;
}

function connectionError(socketPath: string, cause: Error): Error {
  const gone = 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED');
  if (!gone) return unavailable(`the connection to ${socketPath} failed: ${messageOf(cause)}`, { cause });
  return unavailable(`Cannot connect to the daemon at unix://${socketPath}: it is not running`, {
    cause,
    hint: 'Start it with: drover daemon   (or name another one with -H or DOCKER_HOST)',
  });
}
