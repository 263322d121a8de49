import { EventEmitter, once } from 'node:events';
import type { Duplex } from 'node:stream';
import { cancelled, notFound } from '#model/errors.ts';
import { GrpcClient } from './grpc-client.ts';

/** How long a build waits for the session that it names: clients open both at once. */
const PATIENCE_MS = 5000;

/** A client that serves its build: files, secrets, credentials, agents. */
export interface ClientSession {
  readonly id: string;
  /** The same for each session about the same directory of the same machine; empty where the client gives none. */
  readonly sharedKey: string;
  readonly client: GrpcClient;
  /** Whether it serves a method, as `package.Service/Method`. */
  serves(method: string): boolean;
}

/** The clients that are connected. */
export class ClientSessions implements Disposable {
  readonly #sessions = new Map<string, ClientSession>();
  /** Tells each ID as it comes. */
  readonly #arrivals = new EventEmitter();

  /** Serves a session until its connection ends. `methods` are as they come in its headers. */
  async attach(
    socket: Duplex,
    o: { id: string; sharedKey: string; methods: readonly string[] },
  ): Promise<void> {
    using client = new GrpcClient(socket);
    const methods = new Set(o.methods.map((each) => each.replace(/^\//, '').toLowerCase()));
    const session: ClientSession = {
      id: o.id,
      sharedKey: o.sharedKey,
      client,
      serves: (method) => methods.has(method.toLowerCase()),
    };
    this.#sessions.set(o.id, session);
    this.#arrivals.emit(`session ${o.id}`);
    try {
      await client.closed();
    } finally {
      if (this.#sessions.get(o.id) === session) this.#sessions.delete(o.id);
    }
  }

  /** The session of an ID; one that does not come within five seconds is `not-found`. */
  async get(id: string, signal: AbortSignal): Promise<ClientSession> {
    const known = this.#sessions.get(id);
    if (known !== undefined) return known;
    try {
      const patience = AbortSignal.timeout(PATIENCE_MS);
      await once(this.#arrivals, `session ${id}`, { signal: AbortSignal.any([signal, patience]) });
    } catch (cause) {
      if (signal.aborted) throw cancelled('the build was cancelled', { cause });
    }
    const come = this.#sessions.get(id);
    if (come === undefined) throw notFound(`No such session: ${id}`);
    return come;
  }

  /** Ends every session. */
  [Symbol.dispose](): void {
    for (const { client } of this.#sessions.values()) client[Symbol.dispose]();
  }
}
