import { closeSync, openSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { basename, dirname } from 'node:path';
import { Duplex } from 'node:stream';
import { close, connect, socket } from './libc.ts';
import { SystemCallError } from './system-call-error.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET_NONBLOCK = 5 | 0o2000000 | 0o4000;
const O_PATH = 0o10000000;

/** conmon reads at most 32 KiB of a packet and drops the rest. */
const PACKET = 8 * 1024;

/** libuv's pipe handle, which takes any stream-like descriptor; node's public API refuses SEQPACKET ones. */
interface PipeBinding {
  Pipe: new (type: number) => { open(fd: number): number };
  constants: { SOCKET: number };
}

/**
 * A connected SEQPACKET socket as a stream: each chunk read is one packet, each write goes out in packets of at most
 * 8 KiB, `end()` shuts the sending side down and leaves the receiving side open. Connecting is synchronous and throws
 * SystemCallError (ENOENT, ECONNREFUSED).
 */
export function connectSeqpacket(path: string): Duplex {
  const { Pipe, constants } = pipeBinding();
  const handle = new Pipe(constants.SOCKET);
  const fd = connectFd(path);
  const status = handle.open(fd);
  if (status < 0) {
    close(undefined, fd);
    throw new SystemCallError('uv_pipe_open', -status, path);
  }
  // The handle option is what node itself makes accepted connections with.
  const options: SocketConstructorOpts = { allowHalfOpen: true };
  const socket = new Socket(Object.assign(options, { handle, manualStart: true }));
  return new PacketStream(socket);
}

class PacketStream extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on('data', (packet: Buffer) => {
      if (!this.push(packet)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
    socket.pause();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const next = (at: number): void => {
      this.#socket.write(chunk.subarray(at, at + PACKET), (error) => {
        if (error !== null && error !== undefined) done(error);
        else if (at + PACKET >= chunk.length) done();
        else next(at + PACKET);
      });
    };
    next(0);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

function pipeBinding(): PipeBinding {
  const { binding } = process as typeof process & { binding(name: 'pipe_wrap'): PipeBinding };
  return binding.call(process, 'pipe_wrap');
}

/** Connects to a unix SEQPACKET socket; a path longer than a socket address is reached through its directory. */
function connectFd(path: string): number {
  const directory = openSync(dirname(path), O_PATH);
  try {
    const fd = socket(path, AF_UNIX, SOCK_SEQPACKET_NONBLOCK, 0);
    try {
      const address = Buffer.alloc(110);
      address.writeUInt16LE(AF_UNIX, 0);
      const text = `/proc/self/fd/${directory}/${basename(path)}`;
      address.write(text, 2);
      connect(path, fd, address, 2 + text.length + 1);
      return fd;
    } catch (error) {
      close(undefined, fd);
      throw error;
    }
  } finally {
    closeSync(directory);
  }
}
