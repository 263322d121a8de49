import { lookup } from 'node:dns';
import { once } from 'node:events';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { backoffMs } from '#control/backoff.ts';
import { cancelled, DroverError, forbidden, invalid, kindOf, messageOf, unavailable } from '#model/errors.ts';
import { type AddressClass, addressClass, mayRedirect } from './address-class.ts';
import { parseChallenges } from './auth-challenge.ts';
import { basicCredentials, type RegistryCredentials } from './credentials.ts';
import type { RegistryEndpoint } from './registry-endpoints.ts';
import { registryError } from './registry-errors.ts';

/** A registry that sends nothing for so long has stalled. */
export const STALL_MS = 30_000;
const ATTEMPTS = 5;
const MOST_REDIRECTS = 5;
const LARGEST_DOCUMENT = 16 * 1024 * 1024;
/** Waiting longer than this is the user's decision. */
const LONGEST_WAIT_S = 30;
const CLIENT_ID = 'drover';

export interface RegistryRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the endpoint, or a whole URL as the registry gave it. */
  path: string;
  headers?: Record<string, string>;
  /** Made anew for each attempt. */
  body?: () => Buffer | Readable;
  /** What is asked for, in errors: `manifest of nginx:latest`. */
  what: string;
  /** Statuses that are answers, beside 200 to 299. */
  accept?: readonly number[];
  /** For bodies that cannot be sent twice. */
  once?: boolean;
}

const Token = z.object({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  expires_in: z.number().nullish(),
});

/**
 * Requests to one endpoint on behalf of one user, for one repository (distribution-spec; Docker's token authentication). Answers
 * 401 by authenticating once, retries what may go better later, follows redirects that lead to no place they should not.
 */
export class RegistryClient implements Disposable {
  readonly endpoint: RegistryEndpoint;
  readonly #credentials: RegistryCredentials;
  readonly #scope: string;
  readonly #signal: AbortSignal;
  readonly #stallMs: number;
  readonly #extraHeaders: Record<string, string>;
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #https: HttpsAgent;
  #authorization: string | undefined;
  #addressClass: AddressClass | undefined;
  #hasAnswered = false;

  constructor(o: {
    endpoint: RegistryEndpoint;
    credentials: RegistryCredentials;
    /** As in the token specification: `repository:library/nginx:pull`. Empty for none. */
    scope: string;
    signal: AbortSignal;
    stallMs?: number;
    /** Sent with every request to the endpoint itself. */
    headers?: Record<string, string>;
  }) {
    this.endpoint = o.endpoint;
    this.#credentials = o.credentials;
    this.#scope = o.scope;
    this.#signal = o.signal;
    this.#stallMs = o.stallMs ?? STALL_MS;
    this.#extraHeaders = o.headers ?? {};
    if (o.credentials.registrytoken) this.#authorization = `Bearer ${o.credentials.registrytoken}`;
    const { insecure, ca, clientCertificate } = o.endpoint;
    this.#https = new HttpsAgent({
      keepAlive: true,
      rejectUnauthorized: !insecure,
      ...(ca === undefined ? {} : { ca }),
      ...clientCertificate,
    });
  }

  [Symbol.dispose](): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /** The answer, its body not read yet. What the registry refuses is an error that says why. */
  async send(o: RegistryRequest): Promise<IncomingMessage> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#authorized(o);
      } catch (error) {
        const wait = error instanceof Retriable ? error.waitSeconds : undefined;
        const cause = error instanceof Retriable ? error.reason : error;
        // Who was never reached is not there, as a rule; who was comes back.
        const isAbsent = cause instanceof Unreachable && !this.#hasAnswered;
        const hopeless =
          kindOf(cause) !== 'unavailable' || attempt >= ATTEMPTS || o.once === true || isAbsent;
        if (hopeless || (wait ?? 0) > LONGEST_WAIT_S) throw cause;
        await (wait === undefined ? this.pause(attempt) : this.#wait(wait * 1000));
      }
    }
  }

  /** A small answer, whole. */
  async document(o: RegistryRequest): Promise<{ response: IncomingMessage; body: Buffer }> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.send(o);
      try {
        return { response, body: await readAll(response, LARGEST_DOCUMENT, o.what) };
      } catch (error) {
        if (kindOf(error) !== 'unavailable' || attempt >= ATTEMPTS) throw error;
        await this.pause(attempt);
      }
    }
  }

  /** Before what failed `failures` times is tried again. Ends with the transfer, as `cancelled`. */
  async pause(failures: number): Promise<void> {
    await this.#wait(retryDelayMs(failures));
  }

  async #wait(delayMs: number): Promise<void> {
    try {
      await sleep(delayMs, undefined, { signal: this.#signal });
    } catch (cause) {
      throw transferCancelled(cause);
    }
  }

  async #authorized(o: RegistryRequest): Promise<IncomingMessage> {
    const used = this.#authorization;
    const response = await this.#followed(o);
    if (response.statusCode !== 401) return await this.#checked(o, response);
    const header = response.headers['www-authenticate'] ?? '';
    const body = await readAll(response, LARGEST_DOCUMENT, o.what);
    // Another request may have authenticated while this one was on its way.
    if (this.#authorization === used) await this.#authenticate(header, o.what);
    if (this.#authorization === undefined || this.#authorization === used) {
      throw registryError({ status: 401, body: body.toString(), what: o.what, retryAfterSeconds: undefined });
    }
    return await this.#checked(o, await this.#followed(o));
  }

  async #checked(o: RegistryRequest, response: IncomingMessage): Promise<IncomingMessage> {
    const status = response.statusCode ?? 0;
    if ((status >= 200 && status < 300) || o.accept?.includes(status) === true) return response;
    const body = await readAll(response, LARGEST_DOCUMENT, o.what);
    const retryAfterSeconds = retryAfter(response.headers['retry-after']);
    const error = registryError({ status, body: body.toString(), what: o.what, retryAfterSeconds });
    throw new Retriable(error, retryAfterSeconds);
  }

  async #authenticate(header: string, what: string): Promise<void> {
    const challenges = parseChallenges(header);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    const basic = basicCredentials(this.#credentials);
    if (bearer !== undefined) {
      this.#authorization = `Bearer ${await this.#fetchToken(bearer.parameters, what)}`;
      return;
    }
    if (challenges.some(({ scheme }) => scheme === 'basic') && basic !== undefined)
      this.#authorization = basicHeader(basic);
  }

  /** Docker's token authentication specification; a refresh token goes by OAuth 2 (RFC 6749, section 6). */
  async #fetchToken(parameters: Record<string, string>, what: string): Promise<string> {
    const realm = parameters['realm'] ?? '';
    if (!URL.canParse(realm)) throw invalid(`${what}: the registry names no place to authenticate at`);
    const url = new URL(realm);
    if (url.protocol !== 'https:' && !this.endpoint.insecure)
      throw forbidden(
        `${what}: the registry asks for credentials over ${url.protocol}//, which is not secure`,
      );
    const service = parameters['service'] ?? '';
    const scope = this.#scope === '' ? parameters['scope'] : this.#scope;
    const { identitytoken } = this.#credentials;
    const basic = basicCredentials(this.#credentials);
    const request: RegistryRequest = { method: 'GET', path: url.href, what: `token for ${what}` };
    if (identitytoken) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: identitytoken,
        service,
        client_id: CLIENT_ID,
        ...(scope === undefined ? {} : { scope }),
      });
      request.method = 'POST';
      request.body = () => Buffer.from(form.toString());
      request.headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    } else {
      if (service !== '') url.searchParams.set('service', service);
      if (scope !== undefined && scope !== '') url.searchParams.set('scope', scope);
      if (basic !== undefined) {
        url.searchParams.set('account', basic.username);
        request.headers = { Authorization: basicHeader(basic) };
      }
      request.path = url.href;
    }
    const response = await this.#checked(request, await this.#single(request, url, false));
    const body = await readAll(response, LARGEST_DOCUMENT, request.what);
    const parsed = Token.safeParse(JSON.parse(body.toString()));
    const token = parsed.success ? (parsed.data.token ?? parsed.data.access_token) : undefined;
    if (!token) throw invalid(`${what}: the registry's authentication gave no token`);
    return token;
  }

  async #followed(o: RegistryRequest): Promise<IncomingMessage> {
    const base = new URL(this.endpoint.url);
    let url = new URL(o.path, base);
    for (let redirects = 0; ; redirects++) {
      const response = await this.#single(o, url, url.origin === base.origin);
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return response;
      response.resume();
      if (o.method !== 'GET' && o.method !== 'HEAD')
        throw invalid(`${o.what}: the registry redirects where it must take what is sent`);
      if (redirects >= MOST_REDIRECTS) throw invalid(`${o.what}: the registry redirects in circles`);
      if (!URL.canParse(location, url)) throw invalid(`${o.what}: the registry redirects to no address`);
      const next = new URL(location, url);
      if (
        !['https:', 'http:'].includes(next.protocol) ||
        (url.protocol === 'https:' && next.protocol === 'http:' && !this.endpoint.insecure)
      )
        throw forbidden(`${o.what}: the registry redirects to ${next.protocol}//, which is not secure`);
      url = next;
    }
  }

  /** One exchange. Addresses away from the registry's own are looked at before they are connected to. */
  async #single(o: RegistryRequest, url: URL, isOwn: boolean): Promise<IncomingMessage> {
    if (this.#signal.aborted) throw transferCancelled(this.#signal.reason);
    const secure = url.protocol === 'https:';
    const body = o.body?.();
    const hostname = url.hostname.replace(/^\[(.*)\]$/, '$1');
    if (!isOwn && isIP(hostname) !== 0) this.#checkRedirect(hostname, o.what);
    const outgoing = (secure ? httpsRequest : httpRequest)(url, {
      method: o.method,
      agent: secure ? this.#https : this.#http,
      signal: this.#signal,
      lookup: this.#lookup(isOwn, o.what),
      headers: {
        'User-Agent': 'drover/0.1',
        ...(isOwn ? this.#extraHeaders : {}),
        ...(isOwn && this.#authorization !== undefined ? { Authorization: this.#authorization } : {}),
        ...o.headers,
        ...(Buffer.isBuffer(body) ? { 'Content-Length': String(body.length) } : {}),
      },
    });
    outgoing.setTimeout(this.#stallMs, () =>
      outgoing.destroy(unavailable(`${o.what}: ${url.host} sent nothing for ${this.#stallMs / 1000} s`)),
    );
    const answered = once(outgoing, 'response');
    // A registry may answer, and close, before it has all that is sent to it.
    let failed: unknown;
    outgoing.on('error', (error) => {
      failed = error;
    });
    if (body === undefined) outgoing.end();
    else if (Buffer.isBuffer(body)) outgoing.end(body);
    else {
      body.once('error', (error) => outgoing.destroy(error));
      outgoing.once('close', () => body.destroy());
      body.pipe(outgoing);
    }
    try {
      const [response] = await answered;
      const message: IncomingMessage = response;
      this.#hasAnswered = true;
      if (isOwn) this.#noteAddress(message.socket.remoteAddress);
      message.once('error', () => undefined);
      return message;
    } catch (error) {
      throw this.#connectionError(failed ?? error, url, o.what);
    }
  }

  #noteAddress(address: string | undefined): void {
    if (address !== undefined) this.#addressClass ??= addressClass(address);
  }

  #checkRedirect(address: string, what: string): void {
    const to = addressClass(address);
    // Where the registry itself is not known yet, only the public network is.
    if (mayRedirect(this.#addressClass ?? 'public', to)) return;
    throw forbidden(`${what}: the registry redirects to the ${to} address ${address}, which is refused`);
  }

  #lookup(isOwn: boolean, what: string): LookupFunction {
    return (hostname, options, callback) => {
      lookup(hostname, options, (error, address, family) => {
        if (error === null && !isOwn) {
          try {
            for (const each of Array.isArray(address) ? address : [{ address }])
              this.#checkRedirect(each.address, what);
          } catch (refused) {
            callback(refused instanceof Error ? refused : new Error(String(refused)), address, family);
            return;
          }
        }
        callback(error, address, family);
      });
    };
  }

  #connectionError(error: unknown, url: URL, what: string): Error {
    if (this.#signal.aborted) return transferCancelled(error);
    if (error instanceof DroverError) return error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const isTls = /^(ERR_SSL|ERR_TLS|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO|HPE_)/.test(code);
    if (isTls) {
      return new TlsFailure(`${what}: ${url.host}: ${messageOf(error)}`, {
        cause: error,
        hint: `If ${url.host} has no trusted certificate, put its CA into /etc/drover/certs.d/${url.host}/ca.crt, or name it with --insecure-registry.`,
      });
    }
    const message = `${what}: cannot reach ${url.host}: ${messageOf(error)}`;
    return ABSENT.includes(code) ? new Unreachable(message, error) : unavailable(message, { cause: error });
  }
}

/** Nobody answers at the address, or it has none. */
class Unreachable extends DroverError {
  constructor(message: string, cause: unknown) {
    super('unavailable', message, { cause });
  }
}

const ABSENT = ['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH'];

/** The other end does not speak TLS, or is not who it should be. */
export class TlsFailure extends DroverError {
  constructor(message: string, details: { cause: unknown; hint: string }) {
    super('forbidden', message, details);
  }
}

/** Carries how long the registry asks to wait from where it is known to where it is decided on. */
class Retriable extends Error {
  readonly reason: DroverError;
  readonly waitSeconds: number | undefined;

  constructor(reason: DroverError, waitSeconds: number | undefined) {
    super(reason.message);
    this.reason = reason;
    this.waitSeconds = waitSeconds;
  }
}

function transferCancelled(cause: unknown): DroverError {
  return cancelled('the transfer was cancelled', { cause });
}

function basicHeader(o: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${o.username}:${o.password}`).toString('base64')}`;
}

/** Seconds from a Retry-After header, which holds those or a date. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header);
  const time = Date.parse(header);
  return Number.isNaN(time) ? undefined : Math.max(0, Math.ceil((time - Date.now()) / 1000));
}

/** The body, whole; `unavailable` where it breaks off, `invalid` where it is larger than `limit`. */
async function readAll(response: IncomingMessage, limit: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  try {
    for await (const chunk of response) {
      const bytes: Buffer = chunk;
      total += bytes.length;
      if (total > limit) throw invalid(`${what}: the registry sends more than ${limit} bytes`);
      chunks.push(bytes);
    }
  } catch (cause) {
    if (cause instanceof DroverError) throw cause;
    throw unavailable(`${what}: the connection broke off: ${messageOf(cause)}`, { cause });
  }
  return Buffer.concat(chunks);
}

/** Before the attempt after this one: half a second, then twice as long each time. */
export function retryDelayMs(attempt: number): number {
  return backoffMs({ attempt: attempt - 1, firstMs: 500, maxMs: 8000 });
}
