import { once } from 'node:events';
import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { conflict, invalid } from '#model/errors.ts';

/** How long requests in work may take to finish when the daemon stops; attach, logs and events never finish. */
const GRACE_MS = 500;

/** An API server on a unix socket that root and one group may use. */
export class SocketListener implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.path = path;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /**
   * Listens. What a daemon that is gone left at `path` is replaced; a socket that answers, or something that is no
   * socket, is refused.
   */
  static async open(
    server: Server,
    o: { path: string; group: string; groupAsked: boolean },
  ): Promise<SocketListener> {
    mkdirSync(dirname(o.path), { recursive: true, mode: 0o755 });
    await clearStale(o.path);
    const groupId = findGroup(o.group);
    if (groupId === undefined && o.groupAsked) throw invalid(`group ${o.group} is not there`);
    const listener = new SocketListener(server, o.path);
    // nobody gets in between bind and chmod
    const umask = process.umask(0o177);
    try {
      server.listen(o.path);
    } finally {
      process.umask(umask);
    }
    await once(server, 'listening');
    if (groupId !== undefined) chownSync(o.path, 0, groupId);
    chmodSync(o.path, 0o660);
    return listener;
  }

  /** Refuses new connections, lets requests in work finish for a moment, then ends what is left. Removes the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => {
      // also those that were upgraded, which the HTTP server no longer knows
      for (const socket of this.#sockets) socket.destroy();
    }, GRACE_MS);
    await closed.promise;
    clearTimeout(timer);
  }
}

async function clearStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw conflict(`${path} is there and is no socket`);
  if (await answers(path)) throw conflict(`the socket ${path} is in use by another program`);
  rmSync(path, { force: true });
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function findGroup(name: string): number | undefined {
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [group, , id] = line.split(':');
    if (group === name) return Number(id);
  }
  return undefined;
}
