import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import type { NodeRecord } from '#model/node.ts';
import type { PortConfig, ServiceEndpoint, ServiceRecord } from '#model/service.ts';
import type { TaskNetwork, TaskRecord } from '#model/task.ts';
import type { NetworkAttachmentConfig } from '#model/task-spec.ts';
import { AddressPool } from './address-pool.ts';
import type { Controller, Decision, DecisionContext } from './controller.ts';
import { NOTHING } from './controller.ts';
import { isIngress, networksOf } from './service-networks.ts';
import { isOver, isWanted } from './task-places.ts';

/** Where published ports are taken from that a service leaves to us, as in Swarm. */
const FIRST_DYNAMIC_PORT = 30_000;
const LAST_DYNAMIC_PORT = 32_767;

/**
 * Gives services their virtual addresses and published ports, tasks their addresses (`new` → `pending`), nodes their address on the
 * routing mesh's network, plain containers the address of their attachment. There is one key: what is given in one go must not be given twice in it.
 *
 * Invariants: no address and no port has two owners; a task keeps its addresses until it is over, an attachment as long as it
 * is there.
 */
export class Allocator implements Controller {
  readonly name = 'allocator';
  readonly #pools = new Map<string, AddressPool>();
  /** `tcp/80` → the service that publishes it in ingress mode. */
  readonly #ports = new Map<string, string>();
  readonly #newTasks = new Set<string>();
  readonly #newAttachments = new Set<string>();
  readonly #services = new Set<string>();
  readonly #nodes = new Set<string>();
  /** Networks on which nodes have an address of their own. */
  readonly #answering = new Set<string>();
  #ingress: string | undefined;

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    switch (change.table) {
      case 'network':
        this.#observeNetwork(change.id, change.after, view);
        break;
      case 'service':
        this.#observeService(change.id, change.before, change.after, view);
        break;
      case 'task':
        this.#observeTask(change.id, change.before, change.after);
        break;
      case 'node':
        this.#observeNode(change.id, change.after);
        break;
      case 'attachment':
        this.#observeAttachment(change.id, change.before, change.after);
        break;
      default:
        return;
    }
    const waiting = [this.#newTasks, this.#newAttachments, this.#services, this.#nodes];
    if (waiting.some(({ size }) => size > 0)) yield 'all';
  }

  reconcile(view: ClusterView, _key: string, context: DecisionContext): Decision {
    const round = new AllocationRound(this.#pools, this.#ports, context);
    for (const id of this.#services) {
      const service = view.get('service', id);
      if (service !== undefined && round.hasRoom) this.#allocateService(round, view, service);
    }
    for (const id of this.#nodes) {
      const node = view.get('node', id);
      if (node !== undefined && round.hasRoom) this.#allocateNode(round, node);
    }
    for (const id of this.#newTasks) {
      const task = view.get('task', id);
      if (task !== undefined && round.hasRoom) this.#allocateTask(round, view, task);
    }
    for (const id of this.#newAttachments) {
      const attachment = view.get('attachment', id);
      if (attachment !== undefined && round.hasRoom) allocateAttachment(round, view, attachment);
    }
    return round.writes.length === 0 ? NOTHING : { writes: round.writes };
  }

  #observeNetwork(id: string, after: ClusterNetworkRecord | undefined, view: ClusterView): void {
    if (after === undefined) {
      this.#pools.delete(id);
      this.#answering.delete(id);
      if (this.#ingress === id) this.#ingress = undefined;
      return;
    }
    this.#addPool(id, after);
    if (after.Ingress || after.Internal) {
      this.#answering.add(id);
      if (after.Ingress) this.#ingress = id;
      for (const node of view.all('node')) this.#observeNode(node.ID, node);
      for (const service of view.all('service')) this.#observeService(service.ID, service, service, view);
    }
  }

  #addPool(id: string, network: ClusterNetworkRecord): void {
    const [pool] = network.IPAM.Config;
    if (pool === undefined || this.#pools.has(id)) return;
    const reserved = [
      ...(pool.Gateway === undefined ? [] : [pool.Gateway]),
      ...Object.values(pool.AuxiliaryAddresses ?? {}),
    ];
    this.#pools.set(id, new AddressPool({ subnet: pool.Subnet, reserved }));
  }

  #observeService(
    id: string,
    before: ServiceRecord | undefined,
    after: ServiceRecord | undefined,
    view: ClusterView,
  ): void {
    const networks = new Set([...vipNetworks(before), ...vipNetworks(after)]);
    for (const network of networks) {
      const held = (after?.Endpoint.VirtualIPs ?? []).filter(({ NetworkID }) => NetworkID === network);
      this.#pools.get(network)?.assign(
        `service/${id}`,
        held.map(({ Addr }) => Addr),
      );
    }
    for (const port of before?.Endpoint.Ports ?? []) {
      if (isIngress(port) && this.#ports.get(portKey(port)) === id) this.#ports.delete(portKey(port));
    }
    for (const port of after?.Endpoint.Ports ?? []) if (isIngress(port)) this.#ports.set(portKey(port), id);
    if (after !== undefined && !isAllocated(view, after, this.#ingress)) this.#services.add(id);
    else this.#services.delete(id);
  }

  #observeTask(id: string, before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    if (after?.Status.State === 'new' && isWanted(after)) this.#newTasks.add(id);
    else this.#newTasks.delete(id);
    const held = after === undefined || isOver(after) ? [] : after.networks;
    const networks = new Set([...(before?.networks ?? []), ...held].map(({ networkId }) => networkId));
    for (const network of networks) {
      const addresses = held.filter(({ networkId }) => networkId === network).map(({ address }) => address);
      this.#pools.get(network)?.assign(`task/${id}`, addresses);
    }
  }

  #observeAttachment(
    id: string,
    before: AttachmentRecord | undefined,
    after: AttachmentRecord | undefined,
  ): void {
    if (after?.address === '') this.#newAttachments.add(id);
    else this.#newAttachments.delete(id);
    const held = after === undefined || after.address === '' ? [] : [after.address];
    this.#pools.get((after ?? before)?.networkId ?? '')?.assign(`attachment/${id}`, held);
  }

  #observeNode(id: string, after: NodeRecord | undefined): void {
    const held = after?.networkAddresses ?? {};
    for (const network of this.#answering) {
      const address = held[network];
      this.#pools.get(network)?.assign(`node/${id}`, address === undefined ? [] : [address]);
    }
    const misses = [...this.#answering].some((network) => held[network] === undefined);
    if (after !== undefined && misses) this.#nodes.add(id);
    else this.#nodes.delete(id);
  }

  #allocateService(round: AllocationRound, view: ClusterView, service: ServiceRecord): void {
    const networks = networksOf(view, service, service.revision, this.#ingress);
    const Endpoint = round.endpointOf(view, service, networks);
    if (Endpoint !== undefined) round.write({ table: 'service', put: { ...service, Endpoint } });
  }

  #allocateNode(round: AllocationRound, node: NodeRecord): void {
    const networkAddresses = { ...node.networkAddresses };
    for (const network of this.#answering) {
      const address = networkAddresses[network] ?? round.choose(network);
      if (address !== undefined) networkAddresses[network] = address;
    }
    if (Object.keys(networkAddresses).length > Object.keys(node.networkAddresses ?? {}).length)
      round.write({ table: 'node', put: { ...node, networkAddresses } });
  }

  #allocateTask(round: AllocationRound, view: ClusterView, task: TaskRecord): void {
    const service = view.get('service', task.ServiceID);
    // its virtual address comes first: nobody asks for a name before there is something behind it
    if (service === undefined) return;
    if (this.#services.has(service.ID)) {
      const lacking = round.lacking.get(service.ID);
      if (lacking !== undefined) round.wait(task, lacking);
      return;
    }
    const networks: TaskNetwork[] = [];
    for (const attachment of networksOf(view, service, task.revision, this.#ingress)) {
      const address = round.choose(attachment.Target);
      if (address === undefined) {
        round.wait(task, waitingFor(view, attachment));
        return;
      }
      networks.push({ networkId: attachment.Target, address, aliases: attachment.Aliases ?? [] });
    }
    round.admit(task, networks);
  }
}

/** What is given in one go. */
class AllocationRound {
  readonly writes: Write[] = [];
  /** Service → why it has no address or port of its own yet. */
  readonly lacking: Map<string, string> = new Map();
  readonly #pools: ReadonlyMap<string, AddressPool>;
  readonly #ports: ReadonlyMap<string, string>;
  readonly #context: DecisionContext;
  readonly #addresses = new Map<string, Set<number>>();
  readonly #takenPorts = new Set<string>();

  constructor(
    pools: ReadonlyMap<string, AddressPool>,
    ports: ReadonlyMap<string, string>,
    context: DecisionContext,
  ) {
    this.#pools = pools;
    this.#ports = ports;
    this.#context = context;
  }

  get hasRoom(): boolean {
    return this.writes.length < this.#context.limit;
  }

  write(write: Write): void {
    this.writes.push(write);
  }

  choose(networkId: string): string | undefined {
    return this.#pools.get(networkId)?.choose(this.#tentative(networkId));
  }

  /** An address that somebody asks for; undefined when it cannot be given. */
  take(networkId: string, address: string): string | undefined {
    return this.#pools.get(networkId)?.take(address, this.#tentative(networkId));
  }

  #tentative(networkId: string): Set<number> {
    const tentative = this.#addresses.get(networkId) ?? new Set();
    this.#addresses.set(networkId, tentative);
    return tentative;
  }

  admit(task: TaskRecord, networks: TaskNetwork[]): void {
    const now = new Date(this.#context.nowMs).toISOString();
    const { waiting: _, ...rest } = task;
    const Status = {
      ...task.Status,
      Timestamp: now,
      State: 'pending',
      Message: 'pending task scheduling',
    } as const;
    this.write({ table: 'task', put: { ...rest, UpdatedAt: now, Status, networks } });
  }

  /** Says for what a task waits, when that is news. */
  wait(task: TaskRecord, reason: string): void {
    if (task.waiting?.reason === reason) return;
    const since = new Date(this.#context.nowMs).toISOString();
    this.write({ table: 'task', put: { ...task, waiting: { reason, since } } });
  }

  /**
   * A service's addresses and ports: what it has and still asks for it keeps. Undefined when something cannot be given now, for the
   * reason that is then in {@link lacking}.
   */
  endpointOf(
    view: ClusterView,
    service: ServiceRecord,
    networks: readonly NetworkAttachmentConfig[],
  ): ServiceEndpoint | undefined {
    const Spec = service.Spec.EndpointSpec;
    const Ports: PortConfig[] = [];
    for (const port of Spec?.Ports ?? []) {
      const given = isIngress(port) ? this.#publish(service, port) : port;
      if (given === undefined) {
        this.lacking.set(service.ID, waitingForPort(view, this.#ports.get(portKey(port)), port));
        return undefined;
      }
      Ports.push(given);
    }
    const VirtualIPs: { NetworkID: string; Addr: string }[] = [];
    for (const attachment of Spec?.Mode === 'dnsrr' ? [] : networks) {
      const { Target } = attachment;
      const held = service.Endpoint.VirtualIPs?.find(({ NetworkID }) => NetworkID === Target)?.Addr;
      const Addr = held ?? this.choose(Target);
      if (Addr === undefined) {
        this.lacking.set(service.ID, waitingFor(view, attachment));
        return undefined;
      }
      VirtualIPs.push({ NetworkID: Target, Addr });
    }
    return {
      ...(Spec === undefined ? {} : { Spec }),
      ...(Ports.length === 0 ? {} : { Ports }),
      ...(VirtualIPs.length === 0 ? {} : { VirtualIPs }),
    };
  }

  #publish(service: ServiceRecord, port: PortConfig): PortConfig | undefined {
    if ((port.PublishedPort ?? 0) !== 0) return this.#take(service, port);
    // numbers that the same service asks for elsewhere are not for this one
    const asked = new Set(service.Spec.EndpointSpec?.Ports?.filter(isIngress).map(portKey));
    for (const number of numbersFor(service, port)) {
      const numbered = { ...port, PublishedPort: number };
      const given = asked.has(portKey(numbered)) ? undefined : this.#take(service, numbered);
      if (given !== undefined) return given;
    }
    return undefined;
  }

  #take(service: ServiceRecord, port: PortConfig): PortConfig | undefined {
    const key = portKey(port);
    const owner = this.#ports.get(key);
    if (this.#takenPorts.has(key) || (owner !== undefined && owner !== service.ID)) return undefined;
    this.#takenPorts.add(key);
    return port;
  }
}

/** Gives an attachment its address, or says why it gets none, when that is news. */
function allocateAttachment(round: AllocationRound, view: ClusterView, attachment: AttachmentRecord): void {
  const { networkId, requested } = attachment;
  const address = requested === undefined ? round.choose(networkId) : round.take(networkId, requested);
  const { refusal: before, ...rest } = attachment;
  if (address !== undefined) {
    round.write({ table: 'attachment', put: { ...rest, address } });
    return;
  }
  const refusal =
    requested === undefined
      ? waitingFor(view, { Target: networkId })
      : `Address already in use: ${requested} is somebody else's on this network`;
  if (refusal !== before) round.write({ table: 'attachment', put: { ...rest, address: '', refusal } });
}

/** The numbers that a port may get which asks for none: first those that it may have already. */
function* numbersFor(service: ServiceRecord, port: PortConfig): Generator<number> {
  for (const held of service.Endpoint.Ports ?? []) {
    const isAlike = held.TargetPort === port.TargetPort && protocolOf(held) === protocolOf(port);
    if (isIngress(held) && isAlike && held.PublishedPort !== undefined) yield held.PublishedPort;
  }
  for (let number = FIRST_DYNAMIC_PORT; number <= LAST_DYNAMIC_PORT; number++) yield number;
}

function portKey(port: PortConfig): string {
  return `${protocolOf(port)}/${port.PublishedPort ?? 0}`;
}

function protocolOf(port: PortConfig): string {
  return port.Protocol ?? 'tcp';
}

function vipNetworks(service: ServiceRecord | undefined): string[] {
  return (service?.Endpoint.VirtualIPs ?? []).map(({ NetworkID }) => NetworkID);
}

/** True when the service has all the addresses and ports that its spec asks for, and no others. */
function isAllocated(view: ClusterView, service: ServiceRecord, ingress: string | undefined): boolean {
  const { Spec, Endpoint } = service;
  if (service.removing === true) return true;
  if (JSON.stringify(Spec.EndpointSpec) !== JSON.stringify(Endpoint.Spec)) return false;
  const networks = networksOf(view, service, service.revision, ingress);
  const wanted = Spec.EndpointSpec?.Mode === 'dnsrr' ? [] : networks;
  const held = vipNetworks(service);
  return wanted.length === held.length && wanted.every(({ Target }) => held.includes(Target));
}

function waitingFor(view: ClusterView, { Target }: NetworkAttachmentConfig): string {
  const network = view.get('network', Target);
  if (network === undefined)
    return `network ${Target} is not there: create it, or take it out of the service`;
  const subnet = network.IPAM.Config[0]?.Subnet ?? '';
  return `network ${network.Name} has no free address in ${subnet}: remove tasks, or make a network with a larger subnet`;
}

function waitingForPort(view: ClusterView, owner: string | undefined, port: PortConfig): string {
  const { PublishedPort = 0 } = port;
  if (PublishedPort === 0)
    return `no port from ${FIRST_DYNAMIC_PORT} to ${LAST_DYNAMIC_PORT} is free: remove services, or say which port to publish`;
  const name = view.get('service', owner ?? '')?.Spec.Name ?? 'another service';
  return `port ${PublishedPort}/${protocolOf(port)} is published by ${name}: publish another one, or remove that service`;
}
