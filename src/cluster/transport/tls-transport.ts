import type { CheckedCredentials } from '#cluster/ca/certificate-files.ts';
import type { Clock } from '#control/clock.ts';
import type { Report } from './channel-service.ts';
import type { IsAllowed } from './peer-admission.ts';
import { TlsDialer } from './tls-dialer.ts';
import { TlsListener } from './tls-listener.ts';
import type { Channel, ChannelHandler, Transport } from './transport.ts';
import { DEFAULT_LIMITS, type TransportLimits } from './transport-limits.ts';

export interface TlsTransportOptions {
  readonly credentials: CheckedCredentials;
  /** Asked at every new connection and at every look at one; a node that does not know who is in the cluster says yes. */
  readonly isAllowed: IsAllowed;
  readonly clock: Clock;
  readonly report: Report;
  readonly limits?: Partial<TransportLimits>;
}

/**
 * Channels over HTTP/2 and mutual TLS 1.3: one listener, one connection an address. A stream is a channel, a line of JSON a message. Both
 * ends check who the other one is, at its beginning and as long as it lasts.
 */
export class TlsTransport implements Transport, AsyncDisposable {
  readonly #methods = new Map<string, ChannelHandler>();
  readonly #listener: TlsListener;
  readonly #dialer: TlsDialer;
  readonly #clock: Clock;
  readonly #limits: TransportLimits;
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;

  constructor(options: TlsTransportOptions) {
    this.#clock = options.clock;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    const parts = { ...options, limits: this.#limits, methods: this.#methods };
    this.#listener = new TlsListener(parts);
    this.#dialer = new TlsDialer(parts);
    this.#watching = this.#watch();
  }

  /** Begins to listen; port 0 is one that is free. Resolves to the port. */
  listen(host: string, port: number): Promise<number> {
    return this.#listener.listen(host, port);
  }

  open(address: string, method: string, signal: AbortSignal, nodeId?: string): Promise<Channel> {
    return this.#dialer.open(address, method, signal, nodeId);
  }

  serve(method: string, handler: ChannelHandler): void {
    this.#methods.set(method, handler);
  }

  /** New connections use these credentials (a renewal, another role, other roots). Of the old ones those stay whose other end is trusted. */
  replaceCredentials(credentials: CheckedCredentials): void {
    this.#listener.replaceCredentials(credentials);
    this.#dialer.replaceCredentials(credentials);
  }

  /** Ends every channel, waits a little for what is on its way, and cuts off the rest. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#listener.close();
    this.#dialer.close();
    for (let looks = 0; looks < CLOSING_LOOKS && !this.#isIdle(); looks++)
      await this.#clock.sleep(CLOSING_LOOK_MS, this.#closing.signal);
    this.#listener.destroy();
    this.#dialer.destroy();
    this.#closing.abort();
    await this.#watching;
  }

  #isIdle(): boolean {
    return this.#listener.isIdle && this.#dialer.isIdle;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(this.#limits.pingIntervalMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      this.#listener.tick();
      this.#dialer.tick();
    }
  }
}

const CLOSING_LOOKS = 20;
const CLOSING_LOOK_MS = 50;
