import type { Duplex } from 'node:stream';
import { Arrivals } from './arrivals.ts';
import { GrpcClient } from './grpc-client.ts';

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
  readonly #sessions = new Arrivals<ClientSession>('session');

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
    this.#sessions.add(o.id, session);
    try {
      await client.closed();
    } finally {
      this.#sessions.delete(o.id, session);
    }
  }

  /** The session of an ID; one that does not come within five seconds is `not-found`. */
  get(id: string, signal: AbortSignal): Promise<ClientSession> {
    return this.#sessions.get(id, signal);
  }

  /** Ends every session. */
  [Symbol.dispose](): void {
    for (const { client } of this.#sessions.values()) client[Symbol.dispose]();
  }
}
