import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { descriptorOf, sendFile } from '#linux/send-file.ts';
import { unavailable } from '#model/errors.ts';

/** What one response may send before others have their turn. */
const TURN = 4 * 1024 * 1024;
/** Written by node where the socket is full: it knows when there is room again. */
const STEP = 64 * 1024;

/**
 * Sends a part of a file as the body of a response whose head is written, with that length in it. The kernel copies it from the file
 * to the socket, where the connection is not encrypted.
 */
export async function sendFilePart(
  response: ServerResponse,
  o: { path: string; start: number; length: number },
): Promise<void> {
  if (o.length === 0) {
    response.end();
    return;
  }
  const { socket } = response;
  const descriptor = socket === null ? undefined : descriptorOf(socket);
  if (socket === null || descriptor === undefined || o.length < STEP) {
    const end = o.start + o.length - 1;
    await pipeline(createReadStream(o.path, { start: o.start, end, highWaterMark: 4 * STEP }), response);
    return;
  }
  response.flushHeaders();
  const file = openSync(o.path, 'r');
  try {
    await written(socket, Buffer.alloc(0));
    await sendAll(socket, { descriptor, file, start: o.start, end: o.start + o.length });
  } finally {
    closeSync(file);
  }
  response.end();
}

async function sendAll(
  socket: Socket,
  o: { descriptor: number; file: number; start: number; end: number },
): Promise<void> {
  const step = Buffer.allocUnsafe(STEP);
  let turn = 0;
  for (let offset = o.start; offset < o.end; ) {
    const sent = sendFile({
      socket: o.descriptor,
      file: o.file,
      offset,
      count: Math.min(TURN, o.end - offset),
    });
    offset += sent;
    turn += sent;
    if (sent === 0) {
      const length = readSync(o.file, step, 0, Math.min(STEP, o.end - offset), offset);
      if (length === 0) throw unavailable('the blob is shorter than it was');
      await written(socket, step.subarray(0, length));
      offset += length;
      turn = 0;
    } else if (turn >= TURN) {
      turn = 0;
      await nextTurn();
      // Its descriptor may be another's by now.
      if (socket.destroyed) throw unavailable('the client left');
    }
  }
}

/** Resolves when the kernel has taken the bytes, and all before them. */
function written(socket: Socket, bytes: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const left = (): void => reject(unavailable('the client left'));
  socket.once('close', left);
  socket.write(bytes, (error) => {
    socket.off('close', left);
    if (error) reject(error);
    else resolve();
  });
  if (socket.destroyed) left();
  return promise;
}
