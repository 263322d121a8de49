import { closeSync, openSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { basename, dirname } from 'node:path';
import { Duplex } from 'node:stream';
import { close, connect, fcntl, recv, socket } from './libc.ts';
import { O_PATH } from './mount-flags.ts';
import { hasCode, SystemCallError } from './system-call-error.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET_NONBLOCK = 5 | 0o2000000 | 0o4000;
const F_DUPFD_CLOEXEC = 1030;

/** conmon reads at most 32 KiB of a packet and drops the rest. */
const PACKET = 8 * 1024;
/** More than conmon sends in a packet. */
const LARGEST_RECEIVED = 64 * 1024;

/** libuv's pipe handle, which takes any stream-like descriptor; node's public API refuses SEQPACKET ones. */
interface PipeBinding {
  Pipe: new (type: number) => { open(fd: number): number };
  constants: { SOCKET: number };
}

/**
 * A connected SEQPACKET socket as a stream: each chunk read is one packet, each write goes out in packets of at most
 * 8 KiB, `end()` shuts the sending side down and leaves the receiving side open. Whatever the other end sent before it closed
 * is read, also when it left without reading what was written to it; that is dropped. Connecting is synchronous and throws
 * SystemCallError (ENOENT, ECONNREFUSED).
 */
export function connectSeqpacket(path: string): Duplex {
  const fd = connectFd(path);
  try {
    return new PacketStream(path, fd);
  } catch (error) {
    close(undefined, fd);
    throw error;
  }
}

/** Takes the descriptor over. */
function socketOn(path: string, fd: number): Socket {
  const { Pipe, constants } = pipeBinding();
  const handle = new Pipe(constants.SOCKET);
  const status = handle.open(fd);
  if (status < 0) throw new SystemCallError('uv_pipe_open', -status, path);
  // The handle option is what node itself makes accepted connections with.
  const options: SocketConstructorOpts = { allowHalfOpen: true };
  return new Socket(Object.assign(options, { handle, manualStart: true }));
}

class PacketStream extends Duplex {
  readonly #path: string;
  #socket: Socket;
  /** The same socket once more: node closes a descriptor at its first error, and with it what was not read yet. */
  #spare: number | undefined;

  constructor(path: string, fd: number) {
    super({ allowHalfOpen: true });
    this.#path = path;
    const spare = fcntl(path, fd, F_DUPFD_CLOEXEC, 0);
    try {
      this.#socket = this.#read(fd);
    } catch (error) {
      close(undefined, spare);
      throw error;
    }
    this.#spare = spare;
  }

  #read(fd: number): Socket {
    const socket = socketOn(this.#path, fd);
    socket.on('data', (packet: Buffer) => {
      if (!this.push(packet)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.#goOn(error));
    socket.on('close', (hadError) => {
      if (!hadError) this.destroy();
    });
    socket.pause();
    return socket;
  }

  /** After an error the other end may have left, with packets of its still to be read, or only read no more. */
  #goOn(error: Error): void {
    const fd = this.#spare;
    this.#spare = undefined;
    if (fd === undefined || this.destroyed) {
      this.destroy(error);
      return;
    }
    const packet = Buffer.allocUnsafe(LARGEST_RECEIVED);
    let isReset = false;
    for (;;) {
      try {
        const length = recv(this.#path, fd, packet, packet.length, 0);
        if (length === 0) {
          close(undefined, fd);
          this.push(null);
          return;
        }
        this.push(Buffer.from(packet.subarray(0, length)));
      } catch (cause) {
        // Told once (unix(7)), before what is still to be read.
        if (hasCode(cause, 'ECONNRESET') && !isReset) {
          isReset = true;
          continue;
        }
        if (hasCode(cause, 'EAGAIN')) {
          this.#socket = this.#read(fd);
          this.#socket.resume();
          return;
        }
        close(undefined, fd);
        this.destroy(error);
        return;
      }
    }
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const next = (at: number): void => {
      // Nobody reads any more, but there may be more to read.
      if (this.#spare === undefined) {
        done();
        return;
      }
      this.#socket.write(chunk.subarray(at, at + PACKET), (error) => {
        if ((error !== null && error !== undefined) || at + PACKET >= chunk.length) done();
        else next(at + PACKET);
      });
    };
    next(0);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#spare === undefined) done();
    else this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#spare !== undefined) close(undefined, this.#spare);
    this.#spare = undefined;
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
