import { randomBytes } from 'node:crypto';
import type { HeardLeader } from '#cluster/agent/agent.ts';
import { AttemptLimit } from '#cluster/ca/attempt-limit.ts';
import type { NodeCredentials } from '#cluster/ca/certificate-files.ts';
import type { Applicant, CertificateAuthority, Membership } from '#cluster/ca/join-handler.ts';
import { joinHandler, renewalHandler } from '#cluster/ca/join-handler.ts';
import { RENEW_METHOD } from '#cluster/ca/join-protocol.ts';
import { createJoinToken, rebindJoinToken, roleOfToken } from '#cluster/ca/join-token.ts';
import {
  createSealingKey,
  formatUnlockKey,
  type SealingKey,
  seal,
  sealKey,
  unseal,
} from '#cluster/ca/sealing.ts';
import { ClusterControl } from '#cluster/control/cluster-control.ts';
import {
  networkKeyPurpose,
  registryAuthPurpose,
  type Sealer,
  secretPurpose,
} from '#cluster/control/control-ports.ts';
import { ControlPlane } from '#cluster/control-plane.ts';
import { parseLeader } from '#cluster/controllers/election.ts';
import type { ControllerFigures } from '#cluster/controllers/leader-loop.ts';
import type { LivenessTimes } from '#cluster/dispatcher/dispatcher.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import { Scheduler } from '#cluster/scheduler/scheduler.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { ViewListener } from '#cluster/state/view-follower.ts';
import type { EtcdClient } from '#cluster/store/etcd-client.ts';
import { hasEtcd, noEtcd } from '#cluster/store/etcd-program.ts';
import type { Store } from '#cluster/store/store.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import { JOIN_METHOD, type Transport } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { cancelled, forbidden, unavailable } from '#model/errors.ts';
import type { NodeRecord, NodeRole } from '#model/node.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import { authorityOf } from './cluster-authority.ts';
import { unlockKeyOf } from './manager-key.ts';
import { callNodes } from './node-calls.ts';
import { rootReplacement } from './root-replacement.ts';
import { keepStoreMembers } from './store-members.ts';

const NANOSECONDS_PER_MS = 1e6;
/** Docker's default of `Dispatcher.HeartbeatPeriod`. */
const SILENCE_MS = 5000;
/** Of the silence that makes a node lost: how many heartbeats fit. */
const BEATS = 5;
/** What ending a single writer takes, and how long its keeper waits for the agent. */
const KILL_MS = 2000;
const DRAIN_MS = 3000;
const NETWORK_KEY_BYTES = 32;
const WRITE_ATTEMPTS = 20;

export interface ManagerRoleOptions {
  readonly nodeId: string;
  readonly clusterId: string;
  /** `host:port` that agents and managers find it at. */
  readonly advertiseAddress: string;
  readonly store: Store;
  readonly transport: Transport;
  readonly key: SealingKey;
  /** This node's own. */
  readonly credentials: () => NodeCredentials;
  readonly clock: Clock;
  readonly random: Random;
  /** The name of a network of this host, by its name or ID. */
  readonly localNetwork: (reference: string) => string | undefined;
  /** Pins an image for clients that leave that to the manager. */
  readonly resolveImage: (image: string, registryAuth: string | undefined) => Promise<string>;
  /** When this node's agent last heard of who led. */
  readonly heard: () => HeardLeader | undefined;
  /** Hears of every change of the cluster, from the first listing on. */
  readonly onChange: ViewListener;
  readonly report: (message: string, details: object) => void;
}

/** What makes a node a manager: the control plane, the cluster's CA, and what the API asks. Ends when it is disposed of. */
export class ManagerRole implements AsyncDisposable {
  readonly control: ClusterControl;
  readonly #o: ManagerRoleOptions;
  readonly #plane: ControlPlane;
  readonly #ending = new AbortController();
  #running: Promise<unknown>;

  constructor(o: ManagerRoleOptions) {
    this.#o = o;
    const { signal } = this.#ending;
    const sealer: Sealer = {
      seal: (data, purpose) => seal(data, o.key, purpose),
      unseal: (text, purpose) => unseal(text, [o.key], purpose),
    };
    this.#plane = new ControlPlane({
      ...{ store: o.store, clock: o.clock, random: o.random, transport: o.transport, report: o.report },
      heard: o.heard,
      self: { nodeId: o.nodeId, address: o.advertiseAddress },
      times: () => this.#times(),
      rules: { isSingleWriter, fits: nodeFit() },
      sources: {
        openSecret: ({ ID, sealed }) => sealer.unseal(sealed, secretPurpose(ID)).toString('base64'),
        openRegistryAuth: (sealed, serviceId) =>
          sealer.unseal(sealed, registryAuthPurpose(serviceId)).toString('utf8'),
        openNetworkKey: ({ id, sealed }) => sealer.unseal(sealed, networkKeyPurpose(id)).toString('base64'),
        isSingleWriter,
      },
      makeScheduler: () => new Scheduler(),
      makeNetworkKey: (id) => sealer.seal(randomBytes(NETWORK_KEY_BYTES), networkKeyPurpose(id)),
    });
    this.#plane.follower.listen(o.onChange, signal);
    this.control = new ClusterControl({
      ...{ store: o.store, clock: o.clock, random: o.random, nodeId: o.nodeId, signal },
      follower: this.#plane.follower,
      sealer,
      joinTokens: { create: createJoinToken, rebind: rebindJoinToken },
      leader: () => this.leader?.nodeId,
      localNetwork: o.localNetwork,
      resolveImage: o.resolveImage,
      makeUnlockKey: () => sealKey(createSealingKey(), o.key),
      rootRotation: rootReplacement(o),
    });
    const authority: CertificateAuthority = {
      issue: (csr, nodeId, role, hosts) => this.#authority().issue(csr, nodeId, role, hosts),
    };
    const limit = new AttemptLimit(o.clock);
    o.transport.serve(
      JOIN_METHOD,
      joinHandler({
        ...{ authority, limit, admit: (applicant) => this.#admit(applicant) },
        enter: (applicant, membership) => this.#enter(applicant, membership),
      }),
    );
    o.transport.serve(
      RENEW_METHOD,
      renewalHandler({ authority, membership: async (nodeId) => this.#known(nodeId) }),
    );
    const calling = callNodes({
      ...{ view: this.view, transport: o.transport, nodeId: o.nodeId, clock: o.clock, signal },
      isLeader: () => this.#plane.isLeader,
      managers: () => this.managers(),
    });
    this.#running = Promise.all([this.#plane.run(signal), calling]);
  }

  get leader(): { nodeId: string; address: string } | undefined {
    return parseLeader(this.#plane.follower.view.leader);
  }

  get view(): ControlPlane['follower']['view'] {
    return this.#plane.follower.view;
  }

  /** How its controllers do; empty while another manager leads. */
  get figures(): ControllerFigures[] {
    return this.#plane.figures;
  }

  /** Takes managers that are gone out of the store while this one leads. */
  keepStoreMembers(client: EtcdClient): void {
    const { signal } = this.#ending;
    const keeping = keepStoreMembers({
      ...{ view: this.view, clock: this.#o.clock, report: this.#o.report, client, signal },
      listen: (listener, until) => this.listen(listener, until),
      isLeader: () => this.#plane.isLeader,
      write: (decide) => this.write(decide),
    });
    this.#running = Promise.all([this.#running, keeping]);
  }

  /** Hears of changes from now on. */
  listen(listener: ViewListener, signal: AbortSignal): void {
    this.#plane.follower.listen(listener, signal);
  }

  /** What managers' disks are sealed with; undefined while they are not, or nothing is known of the cluster yet. */
  get unlockKey(): SealingKey | undefined {
    const swarm = this.#swarm();
    return swarm === undefined ? undefined : unlockKeyOf(swarm, this.#o.key);
  }

  /** Why what is known of the cluster may be old; undefined while the store is there. */
  get error(): string | undefined {
    return this.#plane.follower.error;
  }

  /** Whether a node may act in a role, as far as this manager knows. */
  isAllowed(nodeId: string, role: 'worker' | 'manager'): boolean {
    if (this.error !== undefined && this.view.count('node') === 0) return true;
    const node = this.view.get('node', nodeId);
    return node !== undefined && (role === 'worker' || node.Spec.Role === 'manager');
  }

  /** Resolves when the cluster is known here, and this node in it. */
  async ready(signal: AbortSignal): Promise<void> {
    while (this.view.get('node', this.#o.nodeId) === undefined || this.leader === undefined) {
      await this.#o.clock.sleep(20, signal);
    }
  }

  /** Writes what is decided on the view, again on another view where somebody else was faster. */
  async write(decide: () => readonly Write[], until?: AbortSignal): Promise<void> {
    const { signal: ending } = this.#ending;
    const signal = until === undefined ? ending : AbortSignal.any([ending, until]);
    for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
      const writes = decide();
      if (writes.length === 0) return;
      const result = await this.#o.store.commit(transactionOf(this.view, writes));
      if (result.committed) return await this.#plane.follower.untilRevision(result.revision, signal);
      await this.#o.clock.sleep(20 + this.#o.random.below(50), signal);
    }
    throw unavailable('the cluster changes too fast: try again');
  }

  /** The node's record, changed; nothing happens where it is gone. */
  async changeNode(change: (node: NodeRecord) => NodeRecord, until?: AbortSignal): Promise<void> {
    await this.write(() => {
      const node = this.view.get('node', this.#o.nodeId);
      if (node === undefined) return [];
      const put = { ...change(node), UpdatedAt: this.#now() };
      return [{ table: 'node', put }];
    }, until);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(cancelled('this node is no manager any more'));
    await this.#running;
  }

  #times(): LivenessTimes {
    const period = this.#swarm()?.Spec.Dispatcher?.HeartbeatPeriod ?? 0;
    const silenceMs = period === 0 ? SILENCE_MS : period / NANOSECONDS_PER_MS;
    return {
      heartbeatMs: silenceMs / BEATS,
      lostAfterMs: silenceMs,
      fencingMs: silenceMs,
      killMs: KILL_MS,
      drainMs: DRAIN_MS,
    };
  }

  #swarm(): SwarmRecord | undefined {
    for (const swarm of this.view.all('swarm')) return swarm;
    return undefined;
  }

  #knownSwarm(): SwarmRecord {
    const swarm = this.#swarm();
    if (swarm === undefined) throw unavailable('this manager does not know the cluster yet');
    return swarm;
  }

  #authority(): CertificateAuthority {
    return authorityOf(this.#knownSwarm(), this.#o);
  }

  /** Who a node that has a token is to be. */
  async #admit(applicant: Applicant): Promise<Membership> {
    const role = roleOfToken(applicant.token, this.#knownSwarm().joinTokens);
    if (role === undefined) {
      throw forbidden('the join token is not valid any more', {
        hint: 'get one that is with `docker swarm join-token worker`',
      });
    }
    if (role === 'manager' && !applicant.canManage) throw noEtcd(`the machine ${applicant.hostname}`);
    if (role === 'manager' && !(await hasEtcd())) throw noEtcd('the manager that was asked');
    return this.#membership(this.#o.random.id(), role, addressOf(applicant));
  }

  /** Lets it in: it gets a record, and with it its role. */
  async #enter(applicant: Applicant, { nodeId, role }: Membership): Promise<void> {
    const now = this.#now();
    const address = addressOf(applicant);
    const put: NodeRecord = {
      ID: nodeId,
      CreatedAt: now,
      UpdatedAt: now,
      Spec: { Role: role, Availability: 'active', Labels: {} },
      Status: { State: 'unknown', Addr: parseAddress(address).host, since: now },
      address,
    };
    await this.write(() => [{ table: 'node', put }]);
    this.#o.report('a node joined', { nodeId, role, hostname: applicant.hostname });
  }

  #known(nodeId: string): Membership {
    const node = this.view.get('node', nodeId);
    if (node === undefined) throw forbidden(`node ${nodeId} is not in this cluster: it was removed`);
    return this.#membership(nodeId, node.Spec.Role, node.address);
  }

  #membership(nodeId: string, role: NodeRole, address: string): Membership {
    return {
      ...{ clusterId: this.#o.clusterId, nodeId, role, managers: this.managers() },
      hosts: [parseAddress(address).host],
      ...(role === 'manager' ? this.#managerKeys() : {}),
    };
  }

  #managerKeys(): Pick<Membership, 'managerKey' | 'unlockKey'> {
    const { unlockKey } = this;
    return {
      managerKey: formatUnlockKey(this.#o.key),
      ...(unlockKey === undefined ? {} : { unlockKey: formatUnlockKey(unlockKey) }),
    };
  }

  /** `host:port` of all that run. */
  managers(): string[] {
    return [...this.view.all('node')]
      .flatMap(({ ManagerStatus }) => (ManagerStatus === undefined ? [] : [ManagerStatus.Addr]))
      .sort();
  }

  #now(): string {
    return new Date(this.#o.clock.nowMs()).toISOString();
  }
}

/** Where a node is to be reached: as it says, or where it comes from. */
function addressOf({ address, remote }: Applicant): string {
  return address ?? `${remote ?? ''}:2377`;
}
