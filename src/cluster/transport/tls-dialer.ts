import type { ClientHttp2Session } from 'node:http2';
import type { CheckedCredentials } from '#cluster/ca/certificate-files.ts';
import type { Clock } from '#control/clock.ts';
import { forbidden, unavailable } from '#model/errors.ts';
import { checkReached } from './channel-service.ts';
import { unlessAborted, within } from './deadline.ts';
import { admitPeer, type IsAllowed, isStillAdmitted, isTrustedBy } from './peer-admission.ts';
import { Session } from './session.ts';
import type { StreamChannel } from './stream-channel.ts';
import { connectVerified, openStream, startSession } from './tls-connection.ts';
import { BULK_PREFIX, type Peer } from './transport.ts';
import type { TransportLimits } from './transport-limits.ts';

interface Dialled {
  readonly session: Session;
  readonly http: ClientHttp2Session;
  readonly peer: Peer;
}

export interface DialerOptions {
  readonly credentials: CheckedCredentials;
  readonly isAllowed: IsAllowed;
  readonly clock: Clock;
  readonly limits: TransportLimits;
}

/**
 * The connections that this node opens: one an address, and another one for what moves much, made at the first call and again when it is
 * gone.
 */
export class TlsDialer {
  readonly #options: DialerOptions;
  readonly #byUse = new Map<string, Promise<Dialled>>();
  readonly #sessions = new Set<Session>();
  readonly #closing = new AbortController();
  #credentials: CheckedCredentials;

  constructor(options: DialerOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
  }

  /** As {@link Transport.open}. */
  async open(
    address: string,
    method: string,
    signal: AbortSignal,
    nodeId: string | undefined,
  ): Promise<StreamChannel> {
    const { clock, limits } = this.#options;
    const use = method.startsWith(BULK_PREFIX) ? `${address} ${BULK_PREFIX}` : address;
    const call = async (aborted: AbortSignal): Promise<StreamChannel> => {
      const { session, http, peer } = await unlessAborted(this.#dialled(address, use), aborted);
      checkReached(address, peer, nodeId);
      return openStream(session, http, method, aborted);
    };
    const channel = await within(
      clock,
      limits.openTimeoutMs,
      signal,
      `calling ${method} at ${address}`,
      call,
    );
    channel.endBy(signal);
    return channel;
  }

  /** New connections use these. Those there are go when their last channel ends; at once when the new roots do not know their other end. */
  replaceCredentials(credentials: CheckedCredentials): void {
    this.#credentials = credentials;
    this.#byUse.clear();
    for (const session of this.#sessions) {
      const certificate = session.admitted?.certificate;
      if (certificate !== undefined && isTrustedBy(certificate, credentials.roots)) session.retire();
      else session.destroy();
    }
  }

  tick(): void {
    const { isAllowed, clock } = this.#options;
    for (const session of this.#sessions) {
      const { admitted } = session;
      if (admitted !== undefined && isStillAdmitted(admitted, isAllowed, clock.nowMs())) session.tick();
      else session.destroy();
    }
  }

  /** Ends every channel and opens no more. */
  close(): void {
    this.#closing.abort(unavailable('this node is closing'));
    for (const session of this.#sessions) session.close();
  }

  /** Cuts off what has not ended. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
  }

  get isIdle(): boolean {
    return this.#sessions.size === 0;
  }

  async #dialled(address: string, use: string): Promise<Dialled> {
    const known = this.#byUse.get(use);
    if (known !== undefined) {
      const dialled = await known;
      if (!dialled.session.isOver) return dialled;
      if (this.#byUse.get(use) === known) this.#byUse.delete(use);
    }
    return this.#byUse.get(use) ?? this.#dial(address, use);
  }

  #dial(address: string, use: string): Promise<Dialled> {
    const { clock, limits } = this.#options;
    const dialling = within(
      clock,
      limits.openTimeoutMs,
      this.#closing.signal,
      `connecting to ${address}`,
      (signal) => this.#connect(address, signal),
    );
    this.#byUse.set(use, dialling);
    dialling.catch(() => {
      if (this.#byUse.get(use) === dialling) this.#byUse.delete(use);
    });
    return dialling;
  }

  async #connect(address: string, signal: AbortSignal): Promise<Dialled> {
    const { key, certificate, roots, identity } = this.#credentials;
    const { isAllowed, clock, limits } = this.#options;
    const socket = await connectVerified(address, { key, cert: certificate, roots }, signal);
    try {
      const shown = socket.getPeerX509Certificate();
      if (shown === undefined) throw forbidden(`${address} has no certificate`);
      const admitted = admitPeer(shown, identity.clusterId, isAllowed, clock.nowMs());
      const http = startSession(socket, limits);
      const session = new Session({ session: http, socket, admitted, pings: true }, limits);
      this.#sessions.add(session);
      http.once('close', () => this.#sessions.delete(session));
      return { session, http, peer: admitted.peer };
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }
}
