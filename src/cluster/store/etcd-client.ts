import {
  type Agent,
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { DroverError, invalid, kindOf, messageOf, unavailable } from '#model/errors.ts';
import { failureOf } from './etcd-wire.ts';
import { linesOf } from './json-lines.ts';
import { isJson, type Json, objectIn } from './json-object.ts';

/** More than etcd's own limit for a request, which is 7 s. */
const TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 3000;
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** When nothing was heard on a connection for so long, the kernel asks whether the other side is there; it gives up 10 s later. */
const KEEP_ALIVE_MS = 10_000;
/** So often the first endpoint is asked whether it serves again, and so long it may take to answer. */
const RETURN_MS = 1000;
/** Whether it is there does not matter: `-` in base64, below which nothing is kept. */
const ANY_KEY = 'LQ==';

/** PEM texts. */
export interface EtcdTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface EtcdClientOptions {
  /**
   * `http://HOST:PORT` or `https://…`; one that fails is left for the next one, until the first serves again. First comes the one on this
   * machine, where there is one: through another the store would be lost with another machine.
   */
  readonly endpoints: readonly string[];
  /** Asked for every connection, so that a certificate that was renewed is used from then on. */
  readonly tls?: () => EtcdTls;
  /** For a call, from its beginning to the end of its answer. 10 s when not given. */
  readonly timeoutMs?: number;
  /** 64 MiB when not given. */
  readonly maxResponseBytes?: number;
}

export interface EtcdCall {
  readonly signal?: AbortSignal;
  /** Repeated at other endpoints however it failed; what is not, only where it was not sent. */
  readonly repeatable: boolean;
  /** An endpoint that its caller did not wait for is asked once more before another one is. */
  readonly again?: boolean;
  /** Asks this one only. */
  readonly endpoint?: string;
  /** Instead of the client's own. */
  readonly timeoutMs?: number;
}

/** etcd's gRPC services through its JSON gateway (3.4: below `/v3/`), over connections that are kept. */
export class EtcdClient implements Disposable {
  readonly #options: EtcdClientOptions;
  readonly #agents: { readonly http: Agent; readonly https: HttpsAgent };
  readonly #closed = new AbortController();
  #endpoints: readonly string[];
  #preferred = 0;
  /** Ends the streams at other endpoints than the first, when it serves again. */
  #standIns = new AbortController();
  /** While the first endpoint has been left. */
  #return: NodeJS.Timeout | undefined;
  /** The endpoint that a caller did not wait for the last time. */
  #unawaited: string | undefined;

  constructor(o: EtcdClientOptions) {
    this.#options = o;
    this.#endpoints = o.endpoints;
    const agent = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxSockets: 64 };
    this.#agents = { http: new HttpAgent(agent), https: new HttpsAgent(agent) };
  }

  get endpoints(): readonly string[] {
    return this.#endpoints;
  }

  /** The members of the cluster changed. Calls under way are not touched. */
  set endpoints(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
    this.#preferred = 0;
  }

  /** One request, one answer. Errors by etcd's code, `unavailable` where there is no answer, `invalid` for one that is too large. */
  async call(path: string, body: Json, o: EtcdCall): Promise<Json> {
    const text = JSON.stringify(body);
    return await this.#atEndpoints(o, async (endpoint, attempt) => {
      using limit = new CallLimit(
        o.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS,
        [this.#closed.signal, o.signal],
        () => {
          attempt.late = true;
        },
      );
      const response = await this.#send({
        endpoint,
        path,
        text,
        attempt,
        signal: limit.signal,
      });
      const answer = parsed(endpoint, await bodyOf(response, this.#maxBytes));
      if (response.statusCode !== 200) throw failureOf(endpoint, answer);
      return answer;
    });
  }

  /**
   * The messages of a stream, until etcd or `signal` ends it; `unavailable` when it breaks, or when it is not at the first endpoint and
   * that one serves again. etcd is asked to break it where it has no leader.
   */
  async *stream(
    path: string,
    body: Json,
    o: EtcdCall & { readonly signal: AbortSignal },
  ): AsyncGenerator<Json> {
    const ends = [this.#closed.signal, o.signal];
    let at = '';
    try {
      const response = await this.#atEndpoints(o, async (endpoint, attempt) => {
        at = endpoint;
        const text = JSON.stringify(body);
        const standIn = endpoint === this.#endpoints[0] ? [] : [this.#standIns.signal];
        const signal = AbortSignal.any([...ends, ...standIn]);
        const opened = await this.#send({ endpoint, path, text, attempt, signal, own: true });
        if (opened.statusCode === 200) return opened;
        throw failureOf(endpoint, parsed(endpoint, await bodyOf(opened, this.#maxBytes)));
      });
      for await (const line of linesOf(response, this.#lines)) {
        if (line.length === 0) continue;
        const message = parsed(at, line);
        if ('error' in message) throw failureOf(at, objectIn(message, 'error'));
        yield objectIn(message, 'result');
      }
    } catch (error) {
      if (o.signal.aborted) return;
      this.#turnFrom(at);
      throw error instanceof DroverError ? error : lost(path, error);
    }
  }

  /** Ends what is under way. */
  [Symbol.dispose](): void {
    this.#closed.abort();
    clearTimeout(this.#return);
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  get #maxBytes(): number {
    return this.#options.maxResponseBytes ?? MAX_RESPONSE_BYTES;
  }

  get #lines(): { maxBytes: number; tooLong: () => Error } {
    const maxBytes = this.#maxBytes;
    return { maxBytes, tooLong: () => invalid(`a message of etcd has more than ${maxBytes} bytes`) };
  }

  async #atEndpoints<T>(o: EtcdCall, work: (endpoint: string, attempt: Attempt) => Promise<T>): Promise<T> {
    const { length } = this.#endpoints;
    const order = this.#endpoints.map(
      (_, index) => this.#endpoints[(this.#preferred + index) % length] ?? '',
    );
    const endpoints = o.endpoint === undefined ? order : [o.endpoint];
    let last: unknown = unavailable('etcd has no endpoint');
    for (const endpoint of endpoints) {
      const attempt: Attempt = { sent: false };
      try {
        const done = await work(endpoint, attempt);
        this.#unawaited = undefined;
        return done;
      } catch (error) {
        last = error instanceof DroverError ? error : lost(endpoint, error);
        if (kindOf(last) !== 'unavailable') throw last;
        if (o.again === true && attempt.sent && o.signal?.aborted === true) this.#notAwaited(endpoint);
        else this.#turnFrom(endpoint);
        const isOver = this.#closed.signal.aborted || o.signal?.aborted === true;
        // one that hangs waits for a quorum, which the others have no sooner: who asks again may have better news by then
        if (isOver || attempt.late === true || (attempt.sent && !o.repeatable)) throw last;
      }
    }
    throw last;
  }

  /**
   * A caller went away before the answer came. Once is no reason to leave the endpoint: etcd may be choosing a leader, and of the others one
   * may be where the last leader was lost. Twice is.
   */
  #notAwaited(endpoint: string): void {
    if (this.#unawaited === endpoint) this.#turnFrom(endpoint);
    this.#unawaited = this.#unawaited === endpoint ? undefined : endpoint;
  }

  /** The next call begins with another one. */
  #turnFrom(endpoint: string): void {
    if (this.#endpoints[this.#preferred] === endpoint)
      this.#preferred = (this.#preferred + 1) % this.#endpoints.length;
    if (this.#preferred !== 0) this.#returnLater();
  }

  #returnLater(): void {
    if (this.#closed.signal.aborted) return;
    this.#return ??= setTimeout(() => void this.#returnToFirst(), RETURN_MS).unref();
  }

  /** Reading what every member agrees on proves that the first has a quorum, and has caught up with it. */
  async #returnToFirst(): Promise<void> {
    const o = { endpoint: this.#endpoints[0] ?? '', repeatable: true, timeoutMs: RETURN_MS };
    const serves = await this.call('kv/range', { key: ANY_KEY, limit: '1' }, o).then(
      () => true,
      () => false,
    );
    this.#return = undefined;
    if (!serves) return this.#returnLater();
    this.#preferred = 0;
    this.#standIns.abort();
    this.#standIns = new AbortController();
  }

  async #send(o: {
    endpoint: string;
    path: string;
    text: string;
    attempt: Attempt;
    signal: AbortSignal;
    own?: boolean;
  }): Promise<IncomingMessage> {
    const url = new URL(`/v3/${o.path}`, o.endpoint);
    const headers = {
      ...{ 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(o.text) },
      ...(o.own === true ? { 'Grpc-Metadata-hasleader': 'true' } : {}),
    };
    const options = { method: 'POST', headers, signal: o.signal };
    const secure = url.protocol === 'https:';
    const agent = o.own === true ? false : this.#agents[secure ? 'https' : 'http'];
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = secure
      ? httpsRequest(url, { ...options, agent, ...this.#options.tls?.() })
      : httpRequest(url, { ...options, agent });
    request.once('response', resolve);
    request.on('error', reject);
    noteConnection(request, o.attempt, secure);
    request.end(o.text);
    return await promise;
  }
}

/** Aborts after its time, or with one of its causes. Leaves nothing at them: a client makes thousands a second. */
class CallLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #causes: readonly AbortSignal[];
  readonly #timer: NodeJS.Timeout;
  readonly #abort = (): void => this.#controller.abort();

  constructor(ms: number, causes: readonly (AbortSignal | undefined)[], onLate: () => void) {
    this.#causes = causes.filter((cause) => cause !== undefined);
    this.#timer = setTimeout(() => {
      onLate();
      this.#controller.abort(new Error(`no answer in ${ms} ms`));
    }, ms);
    for (const cause of this.#causes) {
      if (cause.aborted) this.#abort();
      else cause.addEventListener('abort', this.#abort, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const cause of this.#causes) cause.removeEventListener('abort', this.#abort);
  }
}

/** How far one attempt has come: before a connection stands nothing can have been done. */
interface Attempt {
  sent: boolean;
  /** It was given up since there was no answer in time. */
  late?: boolean;
}

function noteConnection(request: ClientRequest, attempt: Attempt, secure: boolean): void {
  request.once('socket', (socket) => {
    if (!socket.connecting) {
      attempt.sent = true;
      return;
    }
    const late = setTimeout(() => {
      request.destroy(new Error(`no connection in ${CONNECT_TIMEOUT_MS} ms`));
    }, CONNECT_TIMEOUT_MS);
    socket.once('close', () => clearTimeout(late));
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      clearTimeout(late);
      attempt.sent = true;
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
    });
  });
}

async function bodyOf(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += chunk.length;
    if (size > maxBytes) throw invalid(`an answer of etcd has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parsed(endpoint: string, body: Buffer): Json {
  const text = body.toString();
  try {
    const value: unknown = JSON.parse(text);
    if (isJson(value)) return value;
  } catch {
    // what is no JSON is reported as it is
  }
  throw unavailable(`etcd at ${endpoint} answered what is no JSON: ${text.slice(0, 200)}`);
}

function lost(where: string, cause: unknown): DroverError {
  // what was aborted says why in its cause
  const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return unavailable(`etcd does not answer: ${where}: ${messageOf(why)}`, { cause });
}
