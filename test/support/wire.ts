import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP connection's way between two ports, that can be cut without either end being told, or broken. */
export class Wire implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(port: number, server: Server, sockets: Set<Socket>) {
    this.port = port;
    this.#server = server;
    this.#sockets = sockets;
  }

  static async to(port: number): Promise<Wire> {
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          sockets.delete(one);
          other.destroy();
        });
        one.on('data', (chunk) => other.write(chunk));
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return new Wire(address.port, server, sockets);
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  /** Resolves when there is none. */
  async empty(): Promise<void> {
    for (const socket of this.#sockets) if (!socket.closed) await once(socket, 'close');
  }

  /** Nothing gets through any more; connections stay. */
  silence(): void {
    for (const socket of this.#sockets) socket.removeAllListeners('data').resume();
  }

  /** Every connection is reset. */
  break(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.break();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
