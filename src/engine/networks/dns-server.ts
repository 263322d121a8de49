import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
} from 'dns-packet';
import type { Logger } from 'pino';
import type { ResolvedName } from './network-names.ts';

/** What the server asks about names, by who asks. */
export interface NameSource {
  /** Of a name in lower case, without a final dot; undefined where it is no container's. */
  addresses(name: string, asker: string): ResolvedName | undefined;
  /** The name that belongs to an address. */
  nameOf(address: string, asker: string): string | undefined;
  /** Servers for every other name, best first; by who asks. */
  forwarders(asker: string): string[];
}

const PORT = 53;
const PTR_TTL_SECONDS = 600;
const FORWARD_TIMEOUT_MS = 4000;
const MOST_FORWARDED = 500;
const LARGEST_UDP = 512;
const TCP_IDLE_MS = 5000;
const NXDOMAIN = 3;
const SERVFAIL = 2;

/** DNS (RFC 1035) on a network's gateway address: names of its containers from memory, all others forwarded. */
export class DnsServer implements Disposable {
  readonly #names: NameSource;
  readonly #log: Logger;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  readonly #forwards = new Set<UdpSocket>();

  constructor(o: { address: string; names: NameSource; log: Logger }) {
    this.#names = o.names;
    this.#log = o.log.child({ dns: o.address });
    this.#udp = createSocket({ type: 'udp4', reuseAddr: true });
    this.#udp.on('message', (message, from) => {
      this.#answer(message, from.address).then(
        (answer) => answer === undefined || this.#udp.send(truncated(answer), from.port, from.address),
        (error: unknown) => this.#log.warn({ error }, 'cannot answer'),
      );
    });
    this.#udp.on('error', (error) => this.#log.error({ error }, 'DNS socket failed'));
    this.#udp.bind(PORT, o.address);
    this.#tcp = createServer((socket) => this.#serveTcp(socket));
    this.#tcp.on('error', (error) => this.#log.error({ error }, 'DNS socket failed'));
    this.#tcp.listen(PORT, o.address);
  }

  [Symbol.dispose](): void {
    this.#udp.close();
    this.#tcp.close();
    for (const socket of this.#connections) socket.destroy();
    for (const socket of this.#forwards) socket.close();
    this.#forwards.clear();
  }

  #serveTcp(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    let buffer = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => {
      buffer = Buffer.concat([buffer, data]);
      while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
        const length = buffer.readUInt16BE(0);
        const message = Buffer.from(buffer.subarray(2, 2 + length));
        buffer = buffer.subarray(2 + length);
        this.#answer(message, socket.remoteAddress ?? '').then(
          (answer) => {
            if (answer === undefined || socket.destroyed) return;
            const prefix = Buffer.alloc(2);
            prefix.writeUInt16BE(answer.length, 0);
            socket.write(Buffer.concat([prefix, answer]));
          },
          (error: unknown) => this.#log.warn({ error }, 'cannot answer'),
        );
      }
    });
  }

  /** Undefined for what is no question: it gets no answer. */
  async #answer(message: Buffer, asker: string): Promise<Buffer | undefined> {
    let query: Packet;
    try {
      query = decode(message);
    } catch {
      // Garbage from the network is nobody's error.
      return undefined;
    }
    const [question] = query.questions ?? [];
    if (query.type !== 'query' || question === undefined) return undefined;
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const known = this.#known(name, question.type, asker);
    if (known !== undefined) {
      return encode({
        type: 'response',
        ...(query.id === undefined ? {} : { id: query.id }),
        flags: RECURSION_AVAILABLE | AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & RECURSION_DESIRED),
        questions: [question],
        answers: known.map((answer): Answer => ({ ...answer, name: question.name })),
      });
    }
    for (const server of this.#names.forwarders(asker)) {
      const forwarded = await this.#forward(message, server);
      if (forwarded !== undefined) return forwarded;
    }
    const code = this.#names.forwarders(asker).length === 0 ? NXDOMAIN : SERVFAIL;
    return encode({
      type: 'response',
      ...(query.id === undefined ? {} : { id: query.id }),
      flags: RECURSION_AVAILABLE | code,
      questions: [question],
    });
  }

  /** Empty is "the name is there, but not of this type"; undefined is "not ours". */
  #known(name: string, type: string, asker: string): Answer[] | undefined {
    if (type === 'PTR') {
      const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name);
      const owner =
        match === null ? undefined : this.#names.nameOf(match.slice(1).reverse().join('.'), asker);
      return owner === undefined ? undefined : [{ type: 'PTR', name, ttl: PTR_TTL_SECONDS, data: owner }];
    }
    const found = this.#names.addresses(name, asker);
    if (found === undefined) return undefined;
    if (type !== 'A' && type !== 'ANY') return [];
    return found.addresses.map((data) => ({ type: 'A', name, ttl: found.ttlSeconds, data }));
  }

  /** Undefined where the server does not answer in time. */
  #forward(message: Buffer, server: string): Promise<Buffer | undefined> {
    if (this.#forwards.size >= MOST_FORWARDED) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
    this.#forwards.add(socket);
    const finish = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      if (this.#forwards.delete(socket)) socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(undefined), FORWARD_TIMEOUT_MS);
    socket.once('error', () => finish(undefined));
    // Connected, so that nobody else's answer is taken for the server's.
    socket.once('connect', () => socket.send(message));
    socket.once('message', (answer) => finish(answer));
    // An error is an event only where no callback takes it.
    socket.connect(PORT, server);
    return promise;
  }
}

/** A UDP answer that is too long says so, and the asker comes again by TCP. */
function truncated(answer: Buffer): Buffer {
  if (answer.length <= LARGEST_UDP) return answer;
  const packet = decode(answer);
  const TRUNCATED = 0x0200;
  return encode({
    ...packet,
    flags: (packet.flags ?? 0) | TRUNCATED,
    answers: [],
    authorities: [],
    additionals: [],
  });
}
