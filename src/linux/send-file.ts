import type { Socket } from 'node:net';
import { sendfile } from './libc.ts';
import { hasCode } from './system-call-error.ts';

/**
 * sendfile(2): up to `count` bytes of the open file `file` from `offset` on into a socket, without passing through this process.
 * Gives how many went; 0 where the socket takes no more for now.
 */
export function sendFile(o: { socket: number; file: number; offset: number; count: number }): number {
  const offset = Buffer.alloc(8);
  offset.writeBigInt64LE(BigInt(o.offset));
  try {
    return sendfile(undefined, o.socket, o.file, offset, o.count);
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return 0;
    throw error;
  }
}

/** The descriptor of a connected socket that node does not encrypt; undefined for any other. */
export function descriptorOf(socket: Socket): number | undefined {
  if ('encrypted' in socket) return undefined;
  // Not a part of node's interface; where it is not there the caller writes as everybody does.
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, 'fd');
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined;
}
