import * as libc from './libc.ts';

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/** A port of the host that is ours until disposed of. */
export interface PortReservation extends Disposable {
  readonly port: number;
}

/**
 * Binds a port without listening, so that nobody else gets it while packets to it are translated away. SystemCallError
 * EADDRINUSE, EADDRNOTAVAIL, EACCES.
 */
export function reservePort(o: {
  /** IPv4; `0.0.0.0` is all. */
  address: string;
  /** 0 takes a free one of the ephemeral range. */
  port: number;
  protocol: 'tcp' | 'udp';
}): PortReservation {
  const subject = `${o.address}:${o.port}/${o.protocol}`;
  const fd = libc.socket(
    subject,
    AF_INET,
    (o.protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC,
    0,
  );
  try {
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(o.port, 2);
    Buffer.from(o.address.split('.').map(Number)).copy(address, 4);
    libc.bind(subject, fd, address, address.length);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(16, 0);
    libc.getsockname(subject, fd, address, length);
    return { port: address.readUInt16BE(2), [Symbol.dispose]: () => void libc.close(undefined, fd) };
  } catch (error) {
    libc.close(undefined, fd);
    throw error;
  }
}
