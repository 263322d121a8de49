import { chmodSync, chownSync } from 'node:fs';
import { createServer } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import type { DialAgent } from './build-request.ts';

/**
 * Listens at `path` for a step and passes every connection on to one that `dial` opens to an ssh agent, so that the step's socket has
 * the owner and mode that the mount asks for, whatever the agent's has. Disposing of it ends its connections and removes
 * the socket. Fails where `path` is longer than a socket's name may be (107 bytes, unix(7)).
 */
export async function agentSocket(
  dial: DialAgent,
  path: string,
  o: { mode: number; uid: number; gid: number },
): Promise<Disposable> {
  const open = new Set<Duplex>();
  const track = (socket: Duplex): Duplex => {
    open.add(socket);
    return socket.once('close', () => open.delete(socket));
  };
  const server = createServer({ allowHalfOpen: true }, (step) => {
    const answering = track(dial());
    // Either end may go at any time; the other one then sees its connection closed, which says it all.
    const ended = (error?: Error | null): void => {
      if (error) for (const socket of [step, answering]) socket.destroy();
    };
    pipeline(track(step), answering, ended);
    pipeline(answering, step, ended);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(path, resolve);
  });
  chownSync(path, o.uid, o.gid);
  chmodSync(path, o.mode);
  return {
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
