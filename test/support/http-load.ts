import { Resolver } from 'node:dns/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { LookupFunction } from 'node:net';

/** `new`: a connection a request. `kept`: connections that are used again. */
export type LoadMode = 'new' | 'kept';

export interface LoadFailure {
  /** When the request was sent, in milliseconds since 1970. */
  readonly atMs: number;
  /** How long after it was sent it failed, in milliseconds. */
  readonly afterMs: number;
  readonly mode: LoadMode;
  readonly url: string;
  /** An error's code, `timeout`, or `status 503`. */
  readonly reason: string;
}

/** What became of the requests that ended in one interval. */
export interface LoadInterval {
  /** Its end, in milliseconds since 1970. */
  readonly atMs: number;
  /** What was sent before was answered by then, or has failed. */
  readonly settledMs: number;
  readonly answered: number;
  /** Answered at the second try, since the server ended a kept connection in the moment of the first. */
  readonly repeated: number;
  /** Names that were asked for and not answered; the requests went where the name led before. */
  readonly unresolved: number;
  readonly failures: readonly LoadFailure[];
}

export interface LoadOptions {
  /** Asked in turn. */
  urls: readonly string[];
  readonly modes: readonly LoadMode[];
  /** Requests in each mode. They are sent when it is time, whatever became of those before. */
  readonly perSecond: number;
  readonly timeoutMs: number;
  readonly intervalMs: number;
  readonly tell: (interval: LoadInterval) => void;
}

const TICK_MS = 10;
const NAME_TIMEOUT_MS = 500;

/** Steady HTTP load that counts what is not answered. Nothing but node's own modules: it runs in containers too. */
export class HttpLoad implements Disposable {
  readonly #o: LoadOptions;
  readonly #agents = {
    new: new Agent({ keepAlive: false }),
    kept: new Agent({ keepAlive: true, maxSockets: 8 }),
  };
  readonly #ticking: NodeJS.Timeout;
  readonly #telling: NodeJS.Timeout;
  readonly #beganMs = performance.now();
  #urls: readonly string[];
  #turns = 0;
  #answered = 0;
  #repeated = 0;
  #unresolved = 0;
  #failures: LoadFailure[] = [];
  readonly #resolver = new Resolver({ timeout: NAME_TIMEOUT_MS, tries: 1 });
  readonly #known = new Map<string, string>();
  /** When the requests were sent that are under way. */
  readonly #pending = new Set<{ atMs: number }>();

  constructor(o: LoadOptions) {
    this.#o = o;
    this.#urls = o.urls;
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#telling = setInterval(() => this.#tell(), o.intervalMs);
  }

  /** Where requests go from now on. */
  set urls(urls: readonly string[]) {
    this.#urls = urls;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#ticking);
    clearInterval(this.#telling);
    this.#agents.new.destroy();
    this.#agents.kept.destroy();
    this.#tell();
  }

  #tick(): void {
    const due = Math.floor(((performance.now() - this.#beganMs) * this.#o.perSecond) / 1000);
    for (; this.#turns < due; this.#turns++) {
      const url = this.#urls[this.#turns % this.#urls.length];
      if (url === undefined) continue;
      for (const mode of this.#o.modes) this.#ask({ url, mode, atMs: Date.now(), isSecond: false });
    }
  }

  #ask(o: { url: string; mode: LoadMode; atMs: number; isSecond: boolean }): void {
    this.#pending.add(o);
    // the server may have ended all of its connections: the second try opens one (RFC 9112, 9.3.1)
    const agent = this.#agents[o.isSecond ? 'new' : o.mode];
    const call = request(o.url, { agent, lookup: this.#lookup });
    const limit = setTimeout(() => call.destroy(new Error('timeout')), this.#o.timeoutMs);
    let isOver = false;
    const fail = (reason: string): void => {
      clearTimeout(limit);
      if (isOver) return;
      isOver = true;
      this.#pending.delete(o);
      // RFC 9110, 9.2.2: a server may end an idle connection at any time; what was sent on one in that moment is sent again
      if (call.reusedSocket && !o.isSecond && reason !== 'timeout') this.#ask({ ...o, isSecond: true });
      else {
        const { atMs, mode, url } = o;
        this.#failures.push({ atMs, afterMs: Date.now() - atMs, mode, url, reason });
      }
    };
    call.on('error', (error) => fail(reasonOf(error)));
    call.once('response', (response: IncomingMessage) => {
      response.once('error', (error) => fail(reasonOf(error)));
      response.once('end', () => {
        if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
        clearTimeout(limit);
        if (isOver) return;
        isOver = true;
        this.#pending.delete(o);
        this.#answered++;
        if (o.isSecond) this.#repeated++;
      });
      response.resume();
    });
    call.end();
  }

  /** As careful clients do: where the name cannot be asked for, the address that it had. */
  readonly #lookup: LookupFunction = (name, options, callback) => {
    const found = (address: string): void => {
      if (options.all === true) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    };
    this.#resolver.resolve4(name).then(
      ([address = '']) => {
        this.#known.set(name, address);
        found(address);
      },
      (error: Error) => {
        this.#unresolved++;
        const known = this.#known.get(name);
        if (known === undefined) callback(error, '');
        else found(known);
      },
    );
  };

  #tell(): void {
    const [oldest] = this.#pending;
    this.#o.tell({
      atMs: Date.now(),
      settledMs: oldest?.atMs ?? Date.now(),
      answered: this.#answered,
      repeated: this.#repeated,
      unresolved: this.#unresolved,
      failures: this.#failures,
    });
    this.#answered = 0;
    this.#repeated = 0;
    this.#unresolved = 0;
    this.#failures = [];
  }
}

function reasonOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.message;
}
