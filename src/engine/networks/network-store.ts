import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import { bringLoopbackUp, deleteLink, listLinks, replaceDefaultRoute } from '#linux/links.ts';
import { createNetworkNamespace, removeNetworkNamespace } from '#linux/network-namespace.ts';
import { Nftables } from '#linux/nftables.ts';
import type { ContainerRecord, EndpointSettings, PortBinding } from '#model/container.ts';
import { conflict, forbidden, invalid, notFound } from '#model/errors.ts';
import type { NetworkRecord } from '#model/network.ts';
import { adoptEndpoints } from './adopted-endpoints.ts';
import { attachToBridge, enableSetting, raiseBridge } from './bridges.ts';
import { builtInNetworks, takenSubnets } from './built-in-networks.ts';
import { checkConnectable, emptyEndpoint, endpointOf, hasNamespace } from './endpoint-request.ts';
import { GATEWAY_BRIDGE, gatewayNetworkOf, needsGatewayBridge } from './gateway-bridge.ts';
import { type AddressPool, completePool, DEFAULT_POOLS } from './ipam.ts';
import { type LiveEndpoint, LiveEndpoints } from './live-endpoints.ts';
import { NameServers } from './name-servers.ts';
import { type AttachedPlace, type AttachedPlaces, NetworkAttachments } from './network-attachments.ts';
import { type Names, NetworkNames } from './network-names.ts';
import {
  bridgeRecord,
  checkRequest,
  isBuiltIn,
  isolatedBridgeRequest,
  isPrunable,
  type NetworkCreateRequest,
  publishingAddressOf,
  rulesOf,
} from './network-options.ts';
import { PublishedPorts } from './published-ports.ts';
import { gatewayResolvConf, hostResolvConf, hostsFile, nameServerOf } from './resolver-files.ts';
import { addBridge, removeBridge, wholeTable } from './ruleset.ts';

export interface Joined {
  namespacePath: string;
  networks: Record<string, EndpointSettings>;
  ports: Record<string, PortBinding[]>;
}

/** Told when a running container is on its networks, and when it no longer is. Neither may throw. */
export interface EndpointFollower {
  joined(containerId: string): void;
  /** With the addresses that it had. */
  left(containerId: string, addresses: readonly string[]): void;
}

/**
 * The networks of one host. What is asked for is in the records; bridges, namespaces and one nftables table are in the kernel
 * and stay there when the daemon dies; addresses and names in use are those of the running containers, read again at start.
 */
export class NetworkStore {
  /** The way to places on networks of the cluster. */
  readonly attachments: NetworkAttachments = new NetworkAttachments((reference) => this.lookUp(reference));
  readonly #records: RecordStore;
  readonly #events: EventBus;
  readonly #bridge: string;
  readonly #bip: string | undefined;
  readonly #pools: readonly AddressPool[];
  readonly #execRoot: string;
  readonly #table: string;
  readonly #nftables = new Nftables();
  readonly #endpoints = new LiveEndpoints();
  readonly #ports: PublishedPorts;
  readonly #servers: NameServers;
  #follower: EndpointFollower | undefined;

  constructor(o: {
    records: RecordStore;
    events: EventBus;
    bridge: string;
    bip: string | undefined;
    defaultAddressPools?: readonly AddressPool[];
    execRoot: string;
    dns?: readonly string[];
    log: Logger;
  }) {
    this.#records = o.records;
    this.#events = o.events;
    this.#bridge = o.bridge;
    this.#bip = o.bip;
    this.#pools =
      o.defaultAddressPools === undefined || o.defaultAddressPools.length === 0
        ? DEFAULT_POOLS
        : o.defaultAddressPools;
    this.#execRoot = o.execRoot;
    this.#table = `drover_${o.bridge.replace(/[^a-zA-Z0-9_]/g, '_')}`;
    this.#ports = new PublishedPorts({ table: this.#table, nftables: this.#nftables, log: o.log });
    this.#servers = new NameServers({
      endpoints: this.#endpoints,
      records: o.records,
      dns: o.dns ?? [],
      log: o.log,
    });
    mkdirSync(join(o.execRoot, 'netns'), { recursive: true, mode: 0o710 });
  }

  /** Makes what is missing of the default networks, bridges and rules, and takes over what the running containers have. */
  async start(running: readonly ContainerRecord[]): Promise<void> {
    enableSetting('ipv4/ip_forward');
    const builtIn = { bridge: this.#bridge, bip: this.#bip, pools: this.#pools };
    for (const record of builtInNetworks({ existing: this.list(), ...builtIn }))
      this.#records.put('network', record.Id, record);
    for (const network of this.#bridges()) if (network.Driver === 'bridge') this.#raiseBridge(network);
    const alive = new Set(running.map(({ id }) => id));
    for (const id of readdirSync(join(this.#execRoot, 'netns'))) {
      if (!alive.has(id)) removeNetworkNamespace(this.namespacePath(id));
    }
    const links = listLinks().map(({ name }) => name);
    for (const container of running) {
      const adopted = adoptEndpoints(container, {
        lookUp: (reference) => this.lookUp(reference),
        namespacePath: this.namespacePath(container.id),
        links,
      });
      for (const { networkId, endpoint, hostName } of adopted.endpoints)
        this.#endpoints.add(networkId, container, endpoint, hostName);
      this.#ports.adopt(container, adopted.wayOut);
    }
    this.#nftables.run(wholeTable(this.#table, this.#bridges().map(rulesOf), this.#ports.list()));
  }

  /** Closes sockets; bridges, namespaces and rules stay and go on working. */
  async stop(): Promise<void> {
    this.#servers[Symbol.dispose]();
    this.#ports[Symbol.dispose]();
  }

  /** Removes everything of this daemon from the kernel. For when no container runs. */
  teardown(): void {
    for (const id of readdirSync(join(this.#execRoot, 'netns')))
      removeNetworkNamespace(this.namespacePath(id));
    for (const { bridgeName } of this.#bridges()) deleteLink(bridgeName);
    this.#nftables.run(`add table ip ${this.#table}\ndelete table ip ${this.#table}\n`);
  }

  /** By name, ID or unambiguous beginning of an ID. */
  resolve(reference: string): NetworkRecord {
    const network = this.lookUp(reference);
    if (network === undefined) throw notFound(`network ${reference} not found`);
    return network;
  }

  list(): NetworkRecord[] {
    return this.#records.list<NetworkRecord>('network');
  }

  create(o: NetworkCreateRequest): { record: NetworkRecord; warning: string } {
    checkRequest(o);
    if (this.list().some((network) => network.Name === o.Name))
      throw conflict(`network with name ${o.Name} already exists`);
    const pool = completePool(o.IPAM?.Config?.[0], this.#pools, takenSubnets(this.#bridges()));
    const Id = randomBytes(32).toString('hex');
    const record = bridgeRecord(o, { Id, pool });
    const { bridgeName } = record;
    if (listLinks().some((link) => link.name === bridgeName))
      throw conflict(`a bridge with name ${bridgeName} already exists`);
    this.#records.put('network', Id, record);
    try {
      this.#raiseBridge(record);
      this.#nftables.run(addBridge(this.#table, rulesOf(record)));
    } catch (error) {
      this.#dropBridge(record);
      this.#records.delete('network', Id);
      throw error;
    }
    this.#events.publish('network', 'create', Id, { name: record.Name, type: 'bridge' });
    return { record, warning: '' };
  }

  remove(reference: string): void {
    const network = this.resolve(reference);
    if (isBuiltIn(network.Name))
      throw forbidden(`${network.Name} is a pre-defined network and cannot be removed`);
    if (network.Driver === 'overlay') throw forbidden(`network ${network.Name} is the cluster's`);
    if (this.#endpoints.on(network.Id).length > 0) {
      throw forbidden(
        `error while removing network: network ${network.Name} id ${network.Id} has active endpoints`,
      );
    }
    this.#records.delete('network', network.Id);
    this.#nftables.run(removeBridge(this.#table, rulesOf(network)));
    this.#dropBridge(network);
    this.#events.publish('network', 'destroy', network.Id, { name: network.Name, type: network.Driver });
  }

  /** Removes the networks that nobody uses and `accept` agrees to; gives their names. */
  prune(accept: (network: NetworkRecord) => boolean): string[] {
    const wanted = new Set(
      this.#records.list<ContainerRecord>('container').flatMap(({ networks }) => Object.keys(networks)),
    );
    const unused = this.list()
      .filter(isPrunable)
      .filter(({ Id, Name }) => !wanted.has(Name) && this.#endpoints.on(Id).length === 0)
      .filter(accept);
    for (const network of unused) this.remove(network.Id);
    return unused.map((network) => network.Name);
  }

  /**
   * Gives a container that is about to start its network: namespace, addresses, published ports, names. All undone on error.
   * Synchronous, one to two milliseconds a network.
   */
  join(container: ContainerRecord, places?: AttachedPlaces): Joined {
    const namespacePath = this.namespacePath(container.id);
    removeNetworkNamespace(namespacePath);
    createNetworkNamespace(namespacePath);
    const networks: Record<string, EndpointSettings> = {};
    try {
      const asked = Object.entries(container.networks).map(([name, settings]) => {
        const place = places?.get(name);
        return { network: this.resolve(place?.networkId ?? name), settings, given: place?.address };
      });
      const all = asked.map(({ network }) => network);
      const wayOut = needsGatewayBridge(all) ? this.#gatewayBridge() : undefined;
      const gateway = wayOut ?? gatewayNetworkOf(all, container);
      // Joining a bridge does this on its way.
      if (!all.some(({ bridgeName }) => bridgeName !== '')) bringLoopbackUp(namespacePath);
      for (const [index, { network, settings, given }] of asked.entries()) {
        const isGateway = network.Id === gateway?.Id;
        networks[network.Name] =
          network.bridgeName === ''
            ? { ...settings, NetworkID: network.Id, EndpointID: randomBytes(32).toString('hex') }
            : this.#attach(container, network, settings, { index, isGateway, given });
      }
      // As with Docker, the way out is no network that the container was asked onto, and is not shown as one.
      const out =
        wayOut === undefined
          ? networks[gateway?.Name ?? '']
          : this.#attach(container, wayOut, emptyEndpoint(), {
              ...{ index: asked.length, isGateway: true, given: undefined },
            });
      const ports =
        gateway === undefined
          ? {}
          : this.#ports.open(container, {
              address: out?.IPAddress ?? '',
              defaultHostAddress: publishingAddressOf(gateway),
            });
      this.#follower?.joined(container.id);
      return { namespacePath, networks, ports };
    } catch (error) {
      this.leave(container);
      throw error;
    }
  }

  /** Gives back what the container has. Safe to repeat. */
  leave(container: ContainerRecord): void {
    this.#ports.close(container.id);
    const left = this.#endpoints.networksOf(container.id);
    const addresses = left.map(
      (networkId) => this.#endpoints.of(networkId, container.id)?.endpoint.IPAddress ?? '',
    );
    for (const networkId of left) {
      this.#endpoints.remove(networkId, container.id);
      this.#announce('disconnect', networkId, container.id);
    }
    removeNetworkNamespace(this.namespacePath(container.id));
    if (left.length > 0) this.#follower?.left(container.id, addresses);
  }

  /**
   * Puts a container, running or not, on one more network; gives all of its networks. One of the cluster's is there with the place on it,
   * and of a container that does not run only its name is asked for.
   */
  connect(
    container: ContainerRecord,
    reference: string,
    settings: Partial<EndpointSettings>,
    shared: { readonly place?: AttachedPlace | undefined; readonly name?: string | undefined } = {},
  ): Record<string, EndpointSettings> {
    const { place, name } = shared;
    const network = name === undefined ? this.resolve(place?.networkId ?? reference) : undefined;
    const on = { name: name ?? network?.Name ?? '', driver: network?.Driver ?? 'overlay' };
    checkConnectable(container, on);
    const endpoint = endpointOf(on.name, settings);
    const { none, ...others } = container.networks;
    const kept = none === undefined ? container.networks : others;
    if (!hasNamespace(container) || network === undefined) return { ...kept, [on.name]: endpoint };
    const index = this.#endpoints.freeInterface(container.id);
    const isGateway = network.Driver === 'bridge' && Object.keys(kept).length === 0;
    const made = this.#attach(container, network, endpoint, { index, isGateway, given: place?.address });
    const networks = { ...kept, [on.name]: made };
    if (network.Driver === 'overlay') {
      this.#keepWayOut(container, networks);
      this.#follower?.joined(container.id);
    }
    return networks;
  }

  /** Takes a container, running or not, off a network; gives the networks that are left. */
  disconnect(
    container: ContainerRecord,
    reference: string,
    force: boolean,
  ): Record<string, EndpointSettings> {
    const network = this.lookUp(reference);
    const name = network?.Name ?? reference;
    const { [name]: endpoint, ...rest } = container.networks;
    if (endpoint === undefined) {
      if (force) return rest;
      if (network === undefined) throw notFound(`network ${reference} not found`);
      throw forbidden(`container ${container.id} is not connected to network ${name}`);
    }
    if (network?.Driver === 'host')
      throw invalid('container cannot be disconnected from host network or connected to host network');
    if (network !== undefined) this.#detach(container, network, rest);
    return rest;
  }

  /** Takes a running container's interface away; what it is on then are `rest`. */
  #detach(container: ContainerRecord, network: NetworkRecord, rest: Record<string, EndpointSettings>): void {
    const live = this.#endpoints.of(network.Id, container.id);
    if (live === undefined) return;
    this.#ports.close(container.id, live.endpoint.IPAddress);
    deleteLink(live.hostName);
    this.#endpoints.remove(network.Id, container.id);
    const next = Object.values(rest).find((each) => each.Gateway !== '');
    const wayOut = this.#keepWayOut(container, rest);
    const gateway = next?.Gateway ?? wayOut?.Gateway;
    replaceDefaultRoute({ namespacePath: this.namespacePath(container.id), gateway });
    this.#announce('disconnect', network.Id, container.id);
    if (network.Driver === 'overlay') this.#follower?.left(container.id, [live.endpoint.IPAddress]);
  }

  /** Puts a running container that is on these networks on the gateway bridge, or takes it off, as they need it; gives its place there. */
  #keepWayOut(
    container: ContainerRecord,
    networks: Record<string, EndpointSettings>,
  ): EndpointSettings | undefined {
    const all = Object.keys(networks).flatMap((name) => this.lookUp(name) ?? []);
    const bridge = this.lookUp(GATEWAY_BRIDGE);
    const live = bridge && this.#endpoints.of(bridge.Id, container.id);
    if (needsGatewayBridge(all)) {
      const index = this.#endpoints.freeInterface(container.id);
      const made = { index, isGateway: true, given: undefined };
      return live?.endpoint ?? this.#attach(container, this.#gatewayBridge(), emptyEndpoint(), made);
    }
    // what goes through it, such as published ports, stays while the container is on the cluster's networks at all
    if (live === undefined || all.some(({ Driver }) => Driver === 'overlay')) return live?.endpoint;
    this.#ports.close(container.id, live.endpoint.IPAddress);
    deleteLink(live.hostName);
    this.#endpoints.remove(bridge?.Id ?? '', container.id);
    return undefined;
  }

  endpointsOf(networkId: string): LiveEndpoint[] {
    return this.#endpoints.on(networkId);
  }

  /** The IDs of the networks that a running container is on. */
  networksOf(containerId: string): string[] {
    return this.#endpoints.networksOf(containerId);
  }

  /** The address by which the host reaches a running container: on the network that its way out is on. */
  addressFromHost(containerId: string): string | undefined {
    for (const networkId of this.#endpoints.networksOf(containerId)) {
      const network = this.#records.get<NetworkRecord>('network', networkId);
      if (network?.Driver !== 'bridge' || network.Internal) continue;
      return this.#endpoints.of(networkId, containerId)?.endpoint.IPAddress;
    }
    return undefined;
  }

  /** Tells who it is when containers come and go; there is one. */
  follow(follower: EndpointFollower): void {
    this.#follower = follower;
  }

  /** Takes a network of the cluster's in, or its change; its links are made elsewhere. `conflict` where the name is taken. */
  putOverlay(record: NetworkRecord): void {
    const old = this.#records.get<NetworkRecord>('network', record.Id);
    if (JSON.stringify(old) === JSON.stringify(record)) return;
    if (old === undefined && this.list().some(({ Name }) => Name === record.Name))
      throw conflict(`network with name ${record.Name} already exists on this node`, {
        hint: `Remove it: docker network rm ${record.Name}`,
      });
    this.#records.put('network', record.Id, record);
    const removed = old === undefined ? '' : removeBridge(this.#table, rulesOf(old));
    this.#nftables.run(`${removed}${addBridge(this.#table, rulesOf(record))}`);
  }

  /** Forgets a network of the cluster's, and its names. One that is not there is success. */
  dropOverlay(networkId: string): void {
    const record = this.#records.get<NetworkRecord>('network', networkId);
    if (record?.Driver !== 'overlay') return;
    this.#servers.close(networkId);
    this.#servers.setNames(networkId, undefined);
    this.#records.delete('network', networkId);
    this.#nftables.run(removeBridge(this.#table, rulesOf(record)));
  }

  /** Says what names a network of the cluster's has, and on which address of the host's there they are answered, if any. */
  answerNames(record: NetworkRecord, names: Names, address: string | undefined): void {
    this.#servers.setNames(record.Id, names);
    if (address === undefined) this.#servers.close(record.Id);
    else this.#servers.listen(record, address);
  }

  /** The container has another name from now on. */
  rename(container: ContainerRecord, oldName: string): void {
    this.#endpoints.rename(container, oldName);
  }

  namespacePath(containerId: string): string {
    return join(this.#execRoot, 'netns', containerId);
  }

  resolvConf(container: ContainerRecord): string {
    const hostFile = readFileSync('/etc/resolv.conf', 'utf8');
    const networks = Object.keys(container.networks)
      .map((name) => this.lookUp(name))
      .filter((network) => network !== undefined);
    const gateway = nameServerOf(networks, () => this.#gatewayBridge());
    return gateway === undefined
      ? hostResolvConf(container, hostFile)
      : gatewayResolvConf(container, gateway, hostFile);
  }

  hosts(container: ContainerRecord): string {
    const defaultGateway = this.resolve('bridge').IPAM.Config[0]?.Gateway ?? '';
    // a program that looks its own name up is to find where others reach it
    const addresses = Object.entries(container.networks)
      .filter(([name]) => this.lookUp(name)?.Ingress !== true)
      .map(([, endpoint]) => endpoint.IPAddress)
      .filter((address) => address !== '');
    return hostsFile(container, {
      addresses,
      hostGateway: defaultGateway,
      links: this.#endpoints.links(container),
    });
  }

  /** As {@link resolve}; undefined where there is none. */
  lookUp(reference: string): NetworkRecord | undefined {
    const networks = this.list();
    const wanted = reference === 'default' ? 'bridge' : reference;
    const exact = networks.find(({ Id, Name }) => Id === wanted || Name === wanted);
    if (exact !== undefined) return exact;
    const matches = /^[0-9a-f]+$/.test(wanted) ? networks.filter(({ Id }) => Id.startsWith(wanted)) : [];
    if (matches.length > 1)
      throw invalid(`network ${reference} is ambiguous (${matches.length} matches found on ID prefix)`);
    return matches[0];
  }

  #bridges(): NetworkRecord[] {
    return this.list().filter(({ bridgeName }) => bridgeName !== '');
  }

  /** Makes the bridge where it is missing, with its address, and answers DNS on it. */
  #raiseBridge(network: NetworkRecord): void {
    const gateway = raiseBridge(network);
    // Who is on the gateway bridge is there for the way out only, and unseen by the others.
    if (network.Name !== GATEWAY_BRIDGE) {
      const endpoints = (): LiveEndpoint[] => this.#endpoints.on(network.Id);
      this.#servers.setNames(network.Id, new NetworkNames({ endpoints, networkName: network.Name }));
    }
    this.#servers.listen(network, gateway);
  }

  #dropBridge(network: NetworkRecord): void {
    this.#servers.close(network.Id);
    this.#servers.setNames(network.Id, undefined);
    deleteLink(network.bridgeName);
  }

  /** The bridge by which containers on overlay networks get out, made at its first use. */
  #gatewayBridge(): NetworkRecord {
    return this.lookUp(GATEWAY_BRIDGE) ?? this.create(isolatedBridgeRequest(GATEWAY_BRIDGE)).record;
  }

  #attach(
    container: ContainerRecord,
    network: NetworkRecord,
    asked: EndpointSettings,
    o: { index: number; isGateway: boolean; given: string | undefined },
  ): EndpointSettings {
    const taken = this.#endpoints.on(network.Id).map(({ endpoint }) => endpoint.IPAddress);
    const namespacePath = this.namespacePath(container.id);
    const place = { container, network, asked, used: new Set(taken), namespacePath, ...o };
    const { endpoint, hostName } = attachToBridge(place);
    this.#endpoints.add(network.Id, container, endpoint, hostName);
    this.#announce('connect', network.Id, container.id);
    return endpoint;
  }

  #announce(action: 'connect' | 'disconnect', networkId: string, container: string): void {
    const network = this.#records.get<NetworkRecord>('network', networkId);
    this.#events.publish('network', action, networkId, {
      container,
      name: network?.Name ?? '',
      type: network?.Driver ?? 'bridge',
    });
  }
}
