import type { CertificateFiles, CheckedCredentials } from '#cluster/ca/certificate-files.ts';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { credentialsOf, RENEW_METHOD, requestRenewal } from '#cluster/ca/join-protocol.ts';
import { renewalReason, renewalTimeMs } from '#cluster/ca/renewal.ts';
import { tlsInfoOf } from '#cluster/ca/root-rotation.ts';
import type { TlsTransport } from '#cluster/transport/tls-transport.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { messageOf, unavailable } from '#model/errors.ts';
import type { NodeDescription, NodeRole } from '#model/node.ts';
import { keysOf, type ManagerKeys } from './manager-key.ts';

/** How often the certificate's age is looked at. */
const LOOK_MS = 60_000;
/** Nodes that hear of new roots do not come together. */
const SPREAD_MS = 1500;
const RETRY_MS = 3000;

export interface NodeCertificateOptions {
  readonly files: CertificateFiles;
  readonly credentials: CheckedCredentials;
  readonly transport: TlsTransport;
  readonly clock: Clock;
  readonly random: Random;
  /** `host:port` of managers, in the order in which they are asked. */
  readonly managers: () => readonly string[];
  /** A manager gave its key with the certificate, as it does to managers, and the unlock key where the swarm is locked. */
  readonly onManagerKeys: (keys: ManagerKeys) => void;
  /** Runs changes of this node's identity one after the other. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  readonly report: (message: string, details: object) => void;
}

/** A node's certificate over its time in a cluster: asked for anew when it ages, when the node's role changes, when the roots do. */
export class NodeCertificate {
  readonly #o: NodeCertificateOptions;
  readonly #listeners = new Set<() => void>();
  #credentials: CheckedCredentials;
  #renewAtMs: number;
  #described:
    | { readonly of: NodeDescription; readonly with: CheckedCredentials; readonly all: NodeDescription }
    | undefined;
  /** The roots as the leader says they are. */
  #rootsWanted: string | undefined;
  #wake: (() => void) | undefined;

  constructor(o: NodeCertificateOptions) {
    this.#o = o;
    this.#credentials = o.credentials;
    this.#renewAtMs = renewalTimeMs(o.credentials.leaf, o.random);
  }

  get credentials(): CheckedCredentials {
    return this.#credentials;
  }

  get role(): NodeRole {
    return this.#credentials.identity.role;
  }

  /** The leader says which roots are trusted now, the one that signs first (PEM). */
  rootsAre(roots: string): void {
    this.#rootsWanted = roots;
    if (this.#hasOtherRoots()) this.#wake?.();
  }

  /** What the node says of itself, with its certificate; the same object as long as neither has changed. */
  async described(of: NodeDescription): Promise<NodeDescription> {
    const credentials = this.#credentials;
    if (this.#described?.of !== of || this.#described.with !== credentials) {
      const TLSInfo = await tlsInfoOf(credentials.certificate, credentials.roots);
      this.#described = { of, with: credentials, all: { ...of, TLSInfo } };
    }
    return this.#described.all;
  }

  /** Calls back when there is another certificate, until `signal` aborts. */
  watch(onChange: () => void, signal: AbortSignal): void {
    this.#listeners.add(onChange);
    signal.addEventListener('abort', () => this.#listeners.delete(onChange), { once: true });
  }

  /** Renews it in time, until `signal` aborts. */
  async keep(signal: AbortSignal): Promise<void> {
    const { clock, random, report } = this.#o;
    let waitMs = LOOK_MS;
    while (!signal.aborted) {
      await this.#sleep(waitMs, signal);
      if (this.#hasOtherRoots()) await clock.sleep(random.below(SPREAD_MS), signal).catch(() => undefined);
      if (signal.aborted) return;
      waitMs = LOOK_MS;
      if (!this.#isDue()) continue;
      try {
        await this.#o.inTurn(() => this.renew(undefined, signal));
      } catch (error) {
        waitMs = RETRY_MS;
        report('the certificate was not renewed yet', { error: messageOf(error) });
      }
    }
  }

  /**
   * The next certificate, of whichever manager answers; with the role that the cluster has the node in. With `role` only one that has it: a
   * manager that does not know of a change yet is no help.
   */
  async renew(role: NodeRole | undefined, signal: AbortSignal): Promise<void> {
    const { key, csr } = await createRequest();
    let failure: unknown = unavailable('no manager is known');
    for (const address of this.#o.managers()) {
      try {
        const channel = await this.#o.transport.open(address, RENEW_METHOD, signal);
        const answer = await requestRenewal(channel, { csr });
        if (role !== undefined && answer.role !== role)
          throw unavailable(`the manager at ${address} does not know yet that this node is a ${role}`);
        const credentials = credentialsOf(answer, key, this.#o.clock.nowMs(), this.#credentials.identity);
        const keys = keysOf(answer);
        // it is there before what is sealed with it
        if (keys !== undefined) this.#o.onManagerKeys(keys);
        this.#o.files.write(credentials, keys?.key);
        this.#take(credentials);
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  #take(credentials: CheckedCredentials): void {
    this.#credentials = credentials;
    this.#renewAtMs = renewalTimeMs(credentials.leaf, this.#o.random);
    this.#o.transport.replaceCredentials(credentials);
    for (const listener of this.#listeners) listener();
  }

  #isDue(): boolean {
    const view = { certificate: this.#credentials.leaf, renewAtMs: this.#renewAtMs };
    return this.#hasOtherRoots() || renewalReason({ ...view, nowMs: this.#o.clock.nowMs() }) !== undefined;
  }

  #hasOtherRoots(): boolean {
    return this.#rootsWanted !== undefined && this.#rootsWanted.trim() !== this.#credentials.roots.trim();
  }

  /** Until there are other roots, or for so long. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    // after a failure it is due already, and waits all the same
    if (ms === LOOK_MS && this.#hasOtherRoots()) return;
    const waking = new AbortController();
    if (ms === LOOK_MS) this.#wake = () => waking.abort();
    await this.#o.clock.sleep(ms, AbortSignal.any([signal, waking.signal])).catch(() => undefined);
    this.#wake = undefined;
  }
}
