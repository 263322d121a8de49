import { close, recv, send, socket } from './libc.ts';
import { SystemCallError } from './system-call-error.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const HEADER = 16;

/** One attribute, padded to four bytes (netlink(7)). */
export function attribute(type: number, value: Uint8Array | string | number): Buffer {
  const data =
    typeof value === 'string'
      ? Buffer.from(`${value}\0`)
      : typeof value === 'number'
        ? uint32(value)
        : Buffer.from(value);
  const out = Buffer.alloc(Math.ceil((4 + data.length) / 4) * 4);
  out.writeUInt16LE(4 + data.length, 0);
  out.writeUInt16LE(type, 2);
  data.copy(out, 4);
  return out;
}

/** Attributes inside an attribute. */
export function nested(type: number, ...children: Buffer[]): Buffer {
  return attribute(type, Buffer.concat(children));
}

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0, 0);
  return out;
}

/** The attributes in `data` from `offset` on, by type. */
export function parseAttributes(data: Buffer, offset: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  let at = offset;
  while (at + 4 <= data.length) {
    const length = data.readUInt16LE(at);
    if (length < 4) break;
    found.set(data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  return found;
}

/** Text without its closing NUL. */
export function attributeText(value: Buffer | undefined): string {
  if (value === undefined) return '';
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end === -1 ? value.length : end);
}

/** The kernel sends no more than this in one message to a reader that takes it: netlink(7). */
const MOST_AT_ONCE = 32 * 1024;

/** Number of the part of the kernel that a socket talks to. */
const PROTOCOLS = { route: 0, xfrm: 6, netfilter: 12 };

/** A netlink socket in the network namespace it was opened in; every call is synchronous (netlink(7)). */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #answer = Buffer.allocUnsafeSlow(MOST_AT_ONCE);
  #sequence = 0;

  constructor(protocol: keyof typeof PROTOCOLS = 'route') {
    this.#fd = socket('netlink', AF_NETLINK, SOCK_RAW_CLOEXEC, PROTOCOLS[protocol]);
  }

  /** Sends one request, waits for its acknowledgement and gives what came before it; a refusal is a SystemCallError. */
  request(name: string, type: number, flags: number, payload: Buffer, subject?: string): Buffer[] {
    return this.#exchange(name, type, flags | NLM_F_REQUEST | NLM_F_ACK, payload, subject);
  }

  /** Asks for all objects of a kind; gives their payloads. */
  dump(name: string, type: number, payload: Buffer): Buffer[] {
    return this.#exchange(name, type, NLM_F_REQUEST | NLM_F_DUMP, payload, undefined);
  }

  [Symbol.dispose](): void {
    close(undefined, this.#fd);
  }

  #exchange(
    name: string,
    type: number,
    flags: number,
    payload: Buffer,
    subject: string | undefined,
  ): Buffer[] {
    this.#sequence += 1;
    const message = Buffer.alloc(HEADER + payload.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(type, 4);
    message.writeUInt16LE(flags, 6);
    message.writeUInt32LE(this.#sequence, 8);
    payload.copy(message, HEADER);
    send(name, this.#fd, message, message.length, 0);
    const answers: Buffer[] = [];
    const buffer = this.#answer;
    for (;;) {
      const length = recv(name, this.#fd, buffer, buffer.length, 0);
      for (let at = 0; at + HEADER <= length; ) {
        const size = buffer.readUInt32LE(at);
        const kind = buffer.readUInt16LE(at + 4);
        const body = Buffer.from(buffer.subarray(at + HEADER, at + size));
        if (kind === NLMSG_DONE) return answers;
        if (kind === NLMSG_ERROR) {
          const errno = -body.readInt32LE(0);
          if (errno !== 0) throw new SystemCallError(name, errno, subject);
          return answers;
        }
        answers.push(body);
        at += Math.ceil(size / 4) * 4;
      }
    }
  }
}
