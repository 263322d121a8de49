import type { Http2Session, Http2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { ByteBudget } from './byte-budget.ts';
import type { AdmittedPeer } from './peer-admission.ts';
import { StreamChannel, type StreamChannelOptions } from './stream-channel.ts';
import type { TransportLimits } from './transport-limits.ts';

/** HTTP/2's default of 64 KiB would hold a connection to a few MiB a second over any distance. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** Settings of every connection: what the other end may open and send. */
export function sessionOptions(limits: TransportLimits): {
  settings: {
    maxConcurrentStreams: number;
    maxHeaderListSize: number;
    initialWindowSize: number;
    enablePush: false;
  };
  maxHeaderListPairs: number;
  maxOutstandingPings: number;
  maxSettings: number;
  maxSessionMemory: number;
} {
  return {
    settings: {
      maxConcurrentStreams: limits.channelsOfSession,
      maxHeaderListSize: 4096,
      initialWindowSize: 256 * 1024,
      enablePush: false,
    },
    maxHeaderListPairs: 32,
    maxOutstandingPings: 4,
    maxSettings: 16,
    // MiB; what is to be sent counts too
    maxSessionMemory: 256,
  };
}

export interface SessionOptions {
  readonly session: Http2Session;
  readonly socket: TLSSocket;
  /** Undefined for who has no certificate, or none that counts. */
  readonly admitted: AdmittedPeer | undefined;
  readonly budget?: ByteBudget;
  /** Pings the other end; who is called only listens. */
  readonly pings: boolean;
}

/** One connection: its channels, and whether the other end still lives. */
export class Session {
  readonly admitted: AdmittedPeer | undefined;
  readonly remote: string | undefined;
  readonly http: Http2Session;
  readonly #socket: TLSSocket;
  readonly #limits: TransportLimits;
  readonly #budget: ByteBudget;
  readonly #pings: boolean;
  readonly #channels = new Set<StreamChannel>();
  #heardBytes = -1;
  #missed = 0;
  #age = 0;
  #idle = 0;
  #isRetired = false;

  constructor(options: SessionOptions, limits: TransportLimits) {
    this.http = options.session;
    this.admitted = options.admitted;
    this.remote = remoteOf(options.socket);
    this.#socket = options.socket;
    this.#limits = limits;
    this.#budget = options.budget ?? new ByteBudget(limits.bytesOfPeer);
    this.#pings = options.pings;
    this.http.setLocalWindowSize(WINDOW_BYTES);
  }

  /** Whether no more channels are to be opened on it. */
  get isOver(): boolean {
    return this.#isRetired || this.http.closed || this.http.destroyed;
  }

  /** Ticks since it was made. */
  get age(): number {
    return this.#age;
  }

  /** Makes a channel of one of its streams. */
  channel(stream: Http2Stream, options: Pick<StreamChannelOptions, 'serves' | 'largest'>): StreamChannel {
    const { admitted, remote } = this;
    const ends = { peer: admitted?.peer, remote, budget: this.#budget };
    const channel = new StreamChannel(stream, { ...options, ...ends });
    this.#channels.add(channel);
    stream.on('close', () => {
      this.#channels.delete(channel);
      if (this.#isRetired && this.#channels.size === 0) this.http.close();
    });
    return channel;
  }

  /** Looks whether anything was heard since the last look, and pings. A connection that is dead is cut off with all of its channels. */
  tick(): void {
    this.#age++;
    // looks are counted, not milliseconds: a process that was stopped itself has heard nothing, and nobody is dead for that
    const heard = this.#socket.bytesRead;
    this.#missed = heard === this.#heardBytes ? this.#missed + 1 : 0;
    this.#heardBytes = heard;
    if (this.#missed >= this.#limits.missedPings) {
      this.destroy();
      return;
    }
    for (const channel of this.#channels) channel.tick();
    this.#idle = this.#channels.size === 0 ? this.#idle + 1 : 0;
    if (!this.#pings || this.http.destroyed) return;
    if (this.#idle > this.#limits.idleTicks) this.retire();
    // false when the other end has not answered the last ones; that is noticed above
    else this.http.ping(() => undefined);
  }

  /** Opens no more channels, and closes when the last one has ended. */
  retire(): void {
    this.#isRetired = true;
    if (this.#channels.size === 0 && !this.http.closed) this.http.close();
  }

  /** Ends every channel in order, and then the connection. */
  close(): void {
    for (const channel of this.#channels) channel.close();
    this.retire();
  }

  /** Cuts it off: every channel breaks. */
  destroy(): void {
    this.http.destroy();
    this.#socket.destroy();
  }
}

/** The IP address of the other end. A listener for both families sees IPv4 as a part of IPv6; here it is itself. */
export function remoteOf(socket: TLSSocket): string | undefined {
  return socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '');
}
