import { setImmediate as immediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { RecordStore } from '#engine/records/record-store.ts';
import { forgetConnectionsTo, type LeftAddresses } from '#linux/connections.ts';
import { inNetworkNamespace } from '#linux/network-namespace.ts';
import { messageOf, unavailable } from '#model/errors.ts';
import type { NetworkRecord } from '#model/network.ts';
import type { NetworkPlan, PlannedEndpoint, PlannedNetwork } from '#model/network-plan.ts';
import { NetworkEncryption } from './network-encryption.ts';
import type { Names } from './network-names.ts';
import { encryptedNetwork, overlayOptions } from './network-options.ts';
import type { NetworkStore } from './network-store.ts';
import {
  changeOverlay,
  mtuOfAddress,
  overlayBridgeName,
  readOverlay,
  removeOverlay,
} from './overlay-links.ts';
import {
  type ActualState,
  type OverlayState,
  overlayChanges,
  sentenceOf,
  wantedState,
} from './overlay-state.ts';
import { PeerFilter } from './peer-filter.ts';
import { PlanRecords } from './plan-records.ts';
import { PublishedServices } from './published-services.ts';
import { ServiceAddresses } from './service-addresses.ts';
import { ServiceNames } from './service-names.ts';

/** What is wrong, and what it is wrong with. */
interface Failure {
  readonly what: string;
  readonly error: unknown;
}

/**
 * The cluster's networks on one node. The plan says what is to be; it is kept, so that names are answered and tables compared from
 * the daemon's start on, whether or not a manager is there. What was programmed is remembered and changed by its differences; after
 * a start, or an error, it is read from the kernel. A change is synchronous: no name is answered between two halves of it.
 */
export class OverlayNetworks implements AsyncDisposable {
  readonly #store: NetworkStore;
  readonly #log: Logger;
  readonly #plans: PlanRecords;
  readonly #addresses: ServiceAddresses;
  readonly #ports: PublishedServices;
  readonly #filter: PeerFilter;
  readonly encryption: NetworkEncryption;
  /** By network ID, what is in the kernel; what is not here is read. */
  readonly #programmed = new Map<string, ActualState>();
  /** Settles when nothing more is to be forgotten of what was asked for. */
  #forgetting: Promise<void> = Promise.resolve();
  #isClosed = false;
  #plan: NetworkPlan;

  /** `bridge` is the daemon's default bridge, which its tables are named after. */
  constructor(o: { records: RecordStore; networks: NetworkStore; bridge: string; log: Logger }) {
    this.#store = o.networks;
    this.#log = o.log;
    this.#plans = new PlanRecords(o.records);
    this.#addresses = new ServiceAddresses(o.networks);
    this.#ports = new PublishedServices({ networks: o.networks, bridge: o.bridge, log: o.log });
    this.#filter = new PeerFilter(o.bridge);
    this.encryption = new NetworkEncryption(o.records);
    this.#plan = this.#plans.load();
  }

  /** What the node was told last. */
  get plan(): NetworkPlan {
    return this.#plan;
  }

  /** Adopts what is in the kernel and mends it; after {@link NetworkStore.start}. What cannot be mended is logged. */
  start(): void {
    this.#store.follow({
      joined: (containerId) => this.#onJoined(containerId),
      left: (containerId, addresses) => this.#onLeft(containerId, addresses),
    });
    this.#logFailures(this.#program());
  }

  /**
   * Makes the kernel and the name server what the plan says; a node that leaves the cluster is given an empty one. Safe to repeat; a
   * network that cannot be made does not keep the others from it. Rejects with everything that failed: `not-implemented` for an
   * encrypted network where the kernel has no ESP, `unavailable` for several or where the data path is not there.
   */
  async apply(plan: NetworkPlan): Promise<void> {
    const left = addressesLeft(this.#plan, plan);
    this.#plan = plan;
    this.#plans.save(plan);
    const failures = this.#program();
    await this.#forgetConnections(left);
    if (failures.length === 0) return;
    if (failures.length === 1) throw failures[0]?.error;
    throw unavailable(failures.map(({ what, error }) => `${what}: ${messageOf(error)}`).join('; '), {
      cause: failures[0]?.error,
    });
  }

  /**
   * Reads the kernel back and gives what differs from the plan, a sentence each; empty is good. With `heal` it is mended, too: what
   * could not be is found again by the next check, and logged.
   */
  async check(o: { heal: boolean }): Promise<string[]> {
    const found = this.#plan.networks.flatMap((network) => this.#differences(network));
    for (const containerId of this.#addresses.containers(this.#plan)) {
      // Reading takes a millisecond for each service there is; what happens meanwhile is taken as it is.
      await immediate();
      if (this.#store.networksOf(containerId).length === 0) continue;
      found.push(...this.#addresses.differences(this.#livePlan(), containerId));
    }
    found.push(
      ...this.#ports.differences(this.#livePlan()),
      ...this.#filter.differences(this.#plan, this.#isLocking(this.#plan)),
    );
    if (this.#isLocking(this.#plan) || !isEncrypted(this.#plan))
      found.push(...this.encryption.differences(this.#plan));
    if (!o.heal || found.length === 0) return found;
    this.#programmed.clear();
    this.#addresses.distrust();
    this.#ports.distrust();
    this.#filter.distrust();
    this.encryption.distrust();
    this.#logFailures(this.#program());
    return found;
  }

  /** Takes everything out of the kernel; what is on disk stays. For when no task runs here. */
  teardown(): void {
    for (const { Id, Driver } of this.#store.list()) if (Driver === 'overlay') removeOverlay(Id);
    this.#ports.remove();
    this.#filter.remove();
    this.encryption.remove();
    this.#programmed.clear();
  }

  /** Gives the reserved ports back; what is in the kernel stays and goes on working. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#forgetting;
    this.#ports[Symbol.dispose]();
    this.#filter[Symbol.dispose]();
    this.#addresses[Symbol.dispose]();
  }

  /** Locks before links, additions before names, names before removals: a name never leads to what is not there. */
  #program(): Failure[] {
    const failures: Failure[] = [];
    const plan = this.#livePlan();
    attempt(failures, 'filter of VXLAN packets', () => this.#filter.program(plan, this.#isLocking(plan)));
    attempt(failures, 'encryption of networks', () => this.#encrypt(plan));
    const isLocked = failures.length === 0;
    attempt(failures, 'overlay networks', () => {
      const pathMtu = plan.networks.length === 0 ? 0 : mtuOfAddress(plan.dataPathAddress);
      for (const network of plan.networks)
        if (isLocked || !network.encrypted)
          attempt(failures, `network ${network.name}`, () => this.#programLinks(plan, network, pathMtu));
    });
    return [...failures, ...this.#programServing(plan), ...this.#removeUnplanned()];
  }

  /** Where the kernel cannot, each network says so. */
  #encrypt(plan: NetworkPlan): void {
    if (this.#isLocking(plan) || !isEncrypted(plan)) this.encryption.program(plan);
  }

  /** Whether there are encrypted networks here, and not only on the plan. */
  #isLocking(plan: NetworkPlan): boolean {
    return isEncrypted(plan) && this.encryption.problem === undefined;
  }

  /** What depends on which tasks serve. */
  #programServing(plan: NetworkPlan): Failure[] {
    const failures: Failure[] = [];
    for (const containerId of this.#addresses.containers(plan))
      attempt(failures, `virtual IPs of container ${containerId}`, () =>
        this.#addresses.program(plan, containerId),
      );
    attempt(failures, 'published ports', () => this.#ports.program(plan));
    for (const network of plan.networks) {
      // Every published service is on the ingress network: it must not show them to each other.
      if (network.id === plan.ingressNetworkId) continue;
      attempt(failures, `names of network ${network.name}`, () => this.#answerNames(network));
    }
    return failures;
  }

  #programLinks(plan: NetworkPlan, network: PlannedNetwork, pathMtu: number): void {
    const problem = network.encrypted ? this.encryption.problem : undefined;
    if (problem !== undefined) throw encryptedNetwork(network.name, problem);
    const wanted = wantedState(plan, network, pathMtu);
    const actual = this.#programmed.get(network.id) ?? readOverlay(network.id);
    this.#programmed.delete(network.id);
    // The record first: what is cut off here is found by it.
    this.#store.putOverlay(recordOf(network, { ...wanted, isIngress: network.id === plan.ingressNetworkId }));
    changeOverlay(network.id, actual, overlayChanges(actual, wanted));
    this.#programmed.set(network.id, wanted);
  }

  #answerNames(network: PlannedNetwork): void {
    const record = this.#store.list().find(({ Id }) => Id === network.id);
    if (record === undefined) return;
    const names: Names = new ServiceNames(network);
    const [address = ''] = network.nodeAddress.split('/');
    // Containers that have a way out ask there.
    this.#store.answerNames(record, names, network.internal && address !== '' ? address : undefined);
  }

  /**
   * After the tables: what is sent meanwhile is led to a task that is there. One container at a time, for each takes the kernel a
   * while; resolves when all of what was asked for is done.
   */
  #forgetConnections({ gone, draining }: Pick<LeftAddresses, 'gone' | 'draining'>): Promise<void> {
    if (gone.size + draining.size > 0)
      this.#forgetting = this.#forgetting.then(() => this.#forget({ gone, draining }));
    return this.#forgetting;
  }

  /** Never rejects. */
  async #forget(left: Pick<LeftAddresses, 'gone' | 'draining'>): Promise<void> {
    const failures: Failure[] = [];
    const forget = (): number => forgetConnectionsTo({ ...left, inUse: this.#inUseOf(left.gone) });
    attempt(failures, 'connections of the host', () => void forget());
    for (const containerId of this.#addresses.containers(this.#plan)) {
      await immediate();
      if (this.#isClosed || this.#store.networksOf(containerId).length === 0) continue;
      attempt(failures, `connections of container ${containerId}`, () =>
        inNetworkNamespace(this.#store.namespacePath(containerId), forget),
      );
    }
    this.#logFailures(failures);
  }

  /** Those of them that somebody has again. */
  #inUseOf(addresses: ReadonlySet<string>): Set<string> {
    const inUse = new Set<string>();
    if (addresses.size === 0) return inUse;
    const note = (address: string): void => {
      if (addresses.has(address)) inUse.add(address);
    };
    for (const { Id } of this.#store.list())
      for (const { endpoint } of this.#store.endpointsOf(Id)) note(endpoint.IPAddress);
    for (const { endpoints } of this.#plan.networks) for (const { address } of endpoints) note(address);
    return inUse;
  }

  /** Links stay as long as a container is on them. */
  #removeUnplanned(): Failure[] {
    const failures: Failure[] = [];
    const planned = new Set(this.#plan.networks.map(({ id }) => id));
    for (const { Id, Name, Driver } of this.#store.list()) {
      if (Driver !== 'overlay' || planned.has(Id) || this.#store.endpointsOf(Id).length > 0) continue;
      attempt(failures, `network ${Name}`, () => {
        this.#programmed.delete(Id);
        removeOverlay(Id);
        this.#store.dropOverlay(Id);
      });
    }
    // the last lock goes with the last link
    if (!isEncrypted(this.#plan))
      attempt(failures, 'encryption of networks', () => this.encryption.program(this.#plan));
    return failures;
  }

  #differences(network: PlannedNetwork): string[] {
    const problem = network.encrypted ? this.encryption.problem : undefined;
    if (problem !== undefined) return [encryptedNetwork(network.name, problem).message];
    try {
      const wanted = wantedState(this.#plan, network, mtuOfAddress(this.#plan.dataPathAddress));
      return overlayChanges(readOverlay(network.id), wanted).map((change) => sentenceOf(change, network));
    } catch (error) {
      return [`network ${network.name}: ${messageOf(error)}`];
    }
  }

  /** A task of this node serves only while its container is on the network. */
  #livePlan(): NetworkPlan {
    const networks = this.#plan.networks.map((network) => {
      const here = new Set(this.#store.endpointsOf(network.id).map(({ endpoint }) => endpoint.IPAddress));
      const serves = ({ serving, nodeId, address }: PlannedEndpoint): boolean =>
        serving && (nodeId !== this.#plan.nodeId || here.has(address));
      const endpoints = network.endpoints.map((each) => ({ ...each, serving: serves(each) }));
      return { ...network, endpoints };
    });
    return { ...this.#plan, networks };
  }

  #onJoined(containerId: string): void {
    this.#addresses.forget(containerId);
    this.#logFailures(this.#programServing(this.#livePlan()));
  }

  /** At once, and not when the managers have heard of it: nobody here is led to a task that has ended. */
  #onLeft(containerId: string, addresses: readonly string[]): void {
    const failures: Failure[] = [];
    const plan = this.#livePlan();
    // one that runs on, on other networks, has no virtual IPs of this one any more
    if (this.#store.networksOf(containerId).length > 0)
      attempt(failures, `virtual IPs of container ${containerId}`, () =>
        this.#addresses.program(plan, containerId),
      );
    else this.#addresses.forget(containerId);
    this.#logFailures([...failures, ...this.#programServing(plan), ...this.#removeUnplanned()]);
    this.#forgetting = this.#forgetConnections({ gone: new Set(addresses), draining: new Set() });
  }

  #logFailures(failures: readonly Failure[]): void {
    for (const { what, error } of failures)
      this.#log.error({ what, error: messageOf(error) }, 'not programmed');
  }
}

function isEncrypted({ networks }: NetworkPlan): boolean {
  return networks.some(({ encrypted }) => encrypted);
}

/** Addresses of tasks that the next plan does not have there, or that take no new connections by it. */
function addressesLeft(old: NetworkPlan, next: NetworkPlan): Pick<LeftAddresses, 'gone' | 'draining'> {
  const placesIn = ({ networks }: NetworkPlan): PlannedEndpoint[] =>
    networks.flatMap(({ endpoints }) => endpoints);
  const nameOf = ({ taskId, address }: PlannedEndpoint): string => `${taskId} ${address}`;
  const kept = new Map(placesIn(next).map((endpoint) => [nameOf(endpoint), endpoint.serving]));
  const gone = new Set<string>();
  const draining = new Set<string>();
  for (const endpoint of placesIn(old)) {
    const serves = kept.get(nameOf(endpoint));
    if (serves === undefined) gone.add(endpoint.address);
    else if (endpoint.serving && !serves) draining.add(endpoint.address);
  }
  return { gone, draining };
}

function attempt(failures: Failure[], what: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    failures.push({ what, error });
  }
}

/** What the node keeps of a planned network. */
function recordOf(
  network: PlannedNetwork,
  { bridge, isIngress }: OverlayState & { isIngress: boolean },
): NetworkRecord {
  const [Gateway = ''] = network.nodeAddress.split('/');
  return {
    Id: network.id,
    Name: network.name,
    Created: new Date(0).toISOString(),
    Driver: 'overlay',
    Internal: network.internal,
    ...(isIngress ? { Ingress: true } : {}),
    Attachable: network.attachable ?? false,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: [{ Subnet: network.subnet, ...(Gateway === '' ? {} : { Gateway }) }],
    },
    Options: overlayOptions(bridge.mtu),
    Labels: {},
    bridgeName: overlayBridgeName(network.id),
  };
}
