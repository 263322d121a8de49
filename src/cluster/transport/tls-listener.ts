import { constants as crypto } from 'node:crypto';
import { once } from 'node:events';
import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';
import type { CheckedCredentials } from '#cluster/ca/certificate-files.ts';
import type { Clock } from '#control/clock.ts';
import { forbidden, notFound, unavailable } from '#model/errors.ts';
import { ByteBudget } from './byte-budget.ts';
import { handlerFor, type Report, serveChannel } from './channel-service.ts';
import { encodeLine } from './message-lines.ts';
import {
  type AdmittedPeer,
  admitPeer,
  type IsAllowed,
  isStillAdmitted,
  isTrustedBy,
} from './peer-admission.ts';
import { remoteOf, Session, sessionOptions } from './session.ts';
import { ROOTS_PATH } from './tls-connection.ts';
import type { ChannelHandler } from './transport.ts';
import type { TransportLimits } from './transport-limits.ts';
import { toWire } from './wire-error.ts';

/** Connections in all, TLS handshakes that are not through included. */
const MOST_CONNECTIONS = 16_384;

export interface ListenerOptions {
  readonly credentials: CheckedCredentials;
  readonly isAllowed: IsAllowed;
  readonly clock: Clock;
  readonly limits: TransportLimits;
  readonly methods: ReadonlyMap<string, ChannelHandler>;
  readonly report: Report;
}

/** Who connected: a node of the cluster, or a stranger and why it is one. */
type Admission = { readonly admitted: AdmittedPeer } | { readonly stranger: Error | 'no certificate' };

/** The connections that others open to this node. */
export class TlsListener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #peers = new Map<string, { readonly sessions: Set<Session>; readonly budget: ByteBudget }>();
  readonly #strangers = new Set<Session>();
  readonly #sockets = new Set<Socket>();
  #credentials: CheckedCredentials;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
    this.#server = createServer({
      ...contextOf(options.credentials),
      requestCert: true,
      // who has none may join, and who has a bad one is told so; both are refused everything else below
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      handshakeTimeout: options.limits.openTimeoutMs,
    });
    this.#server.maxConnections = MOST_CONNECTIONS;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('secureConnection', (socket) => this.#accept(socket));
    // a handshake that fails is the other side's loss, and says nothing that can be relied on
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Listens; port 0 is one that is free. Resolves to the port. Rejects with node's error when it cannot. */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen({ host, port });
    await once(this.#server, 'listening');
    // one connection that cannot be taken does not end the others
    this.#server.on('error', (error) => this.#options.report(error, 'listening'));
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  /** New connections use these; those there are stay, unless the new roots do not know their other end. */
  replaceCredentials(credentials: CheckedCredentials): void {
    this.#credentials = credentials;
    this.#server.setSecureContext(contextOf(credentials));
    for (const session of this.#sessions()) {
      const certificate = session.admitted?.certificate;
      if (certificate !== undefined && !isTrustedBy(certificate, credentials.roots)) session.destroy();
    }
  }

  tick(): void {
    const { isAllowed, clock, limits } = this.#options;
    for (const session of this.#sessions()) {
      const { admitted } = session;
      const mayStay =
        admitted === undefined
          ? session.age < limits.strangerTicks
          : isStillAdmitted(admitted, isAllowed, clock.nowMs());
      if (mayStay) session.tick();
      else session.destroy();
    }
  }

  /** Takes no more connections, and ends every channel. */
  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const session of this.#sessions()) session.close();
  }

  /** Cuts off what has not ended. */
  destroy(): void {
    for (const session of this.#sessions()) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  get isIdle(): boolean {
    return this.#peers.size === 0 && this.#strangers.size === 0 && !this.#server.listening;
  }

  *#sessions(): Generator<Session> {
    for (const { sessions } of this.#peers.values()) yield* sessions;
    yield* this.#strangers;
  }

  #accept(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy());
    if (socket.destroyed) return;
    socket.setNoDelay(true);
    const admission = this.#admission(socket);
    const isRoom = 'admitted' in admission || this.#hasRoomForStranger(remoteOf(socket));
    // a resumed session would skip the certificate; none is offered
    if (socket.alpnProtocol !== 'h2' || socket.isSessionReused() || !isRoom) {
      socket.destroy();
      return;
    }
    const http = performServerHandshake(socket, sessionOptions(this.#options.limits));
    http.on('error', () => socket.destroy());
    const session = this.#register(http, socket, admission);
    http.on('stream', (stream, headers) => this.#answer(session, admission, stream, headers));
  }

  #admission(socket: TLSSocket): Admission {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return { stranger: 'no certificate' };
    if (!socket.authorized)
      return { stranger: forbidden(`the certificate is refused: ${String(socket.authorizationError)}`) };
    const { isAllowed, clock } = this.#options;
    try {
      const { clusterId } = this.#credentials.identity;
      return { admitted: admitPeer(certificate, clusterId, isAllowed, clock.nowMs()) };
    } catch (error) {
      return { stranger: error instanceof Error ? error : forbidden('the certificate is refused') };
    }
  }

  #hasRoomForStranger(remote: string | undefined): boolean {
    const { strangers, strangersOfAddress } = this.#options.limits;
    const same = [...this.#strangers].filter((session) => session.remote === remote).length;
    return this.#strangers.size < strangers && same < strangersOfAddress;
  }

  #register(http: ServerHttp2Session, socket: TLSSocket, admission: Admission): Session {
    const { limits } = this.#options;
    if ('stranger' in admission) {
      const session = new Session({ session: http, socket, admitted: undefined, pings: false }, limits);
      this.#strangers.add(session);
      http.once('close', () => this.#strangers.delete(session));
      return session;
    }
    const { admitted } = admission;
    const { nodeId } = admitted.peer;
    const known = this.#peers.get(nodeId) ?? {
      sessions: new Set<Session>(),
      budget: new ByteBudget(limits.bytesOfPeer),
    };
    const { sessions, budget } = known;
    const session = new Session({ session: http, socket, admitted, budget, pings: false }, limits);
    this.#peers.set(nodeId, known);
    sessions.add(session);
    const [oldest] = sessions;
    if (sessions.size > limits.sessionsOfPeer) oldest?.destroy();
    http.once('close', () => {
      sessions.delete(session);
      if (sessions.size === 0 && this.#peers.get(nodeId) === known) this.#peers.delete(nodeId);
    });
    return session;
  }

  #answer(
    session: Session,
    admission: Admission,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
  ): void {
    // what breaks is seen by the channel, or by nobody
    stream.on('error', () => stream.destroy());
    // reset before it was looked at
    if (stream.destroyed || stream.closed) return;
    const path = headers[':path'] ?? '';
    if (path === ROOTS_PATH && headers[':method'] === 'GET') {
      stream.respond({ ':status': 200 });
      stream.end(this.#credentials.roots);
      return;
    }
    const method = path.slice(1);
    try {
      if ('stranger' in admission && admission.stranger !== 'no certificate') throw admission.stranger;
      if (session.admitted !== undefined) this.#checkStanding(session, session.admitted);
      if (headers[':method'] !== 'POST') throw notFound('channels are opened by POST');
      const handler = handlerFor(this.#options.methods, method, session.admitted?.peer);
      stream.respond({ ':status': 200 });
      const { largestOfStranger } = this.#options.limits;
      const largest = session.admitted === undefined ? { largest: largestOfStranger } : {};
      const channel = session.channel(stream, { serves: true, ...largest });
      void serveChannel(channel, method, handler, this.#options.report);
    } catch (error) {
      refuse(stream, error);
      // it makes room for others
      if ('stranger' in admission) session.retire();
    }
  }

  /** Throws when a node is not any more what it was when it connected: `forbidden`, or `unavailable` when it may be again. */
  #checkStanding(session: Session, admitted: AdmittedPeer): void {
    const { isAllowed, clock } = this.#options;
    if (isStillAdmitted(admitted, isAllowed, clock.nowMs())) return;
    session.retire();
    admitPeer(admitted.certificate, admitted.identity.clusterId, isAllowed, clock.nowMs());
    throw unavailable(`the role of node ${admitted.peer.nodeId} has changed: it has to connect again`);
  }
}

function refuse(stream: ServerHttp2Stream, error: unknown): void {
  stream.respond({ ':status': 403 });
  stream.end(encodeLine('error', JSON.stringify(toWire(error))));
  // what the caller has sent meanwhile
  stream.resume();
}

function contextOf({ key, certificate, roots }: CheckedCredentials): SecureContextOptions {
  return {
    key,
    cert: certificate,
    ca: roots,
    minVersion: 'TLSv1.3',
    secureOptions: crypto.SSL_OP_NO_TICKET,
  };
}
