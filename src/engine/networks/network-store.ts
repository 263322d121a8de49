import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import {
  addAddress,
  attachToNamespace,
  bringLoopbackUp,
  createBridge,
  deleteLink,
  listAddresses,
  listLinks,
  listRoutes,
  replaceDefaultRoute,
  setLinkUp,
} from '#linux/links.ts';
import { createNetworkNamespace, removeNetworkNamespace } from '#linux/network-namespace.ts';
import { Nftables } from '#linux/nftables.ts';
import { hasCode } from '#linux/system-call-error.ts';
import type { ContainerRecord, EndpointSettings, PortBinding } from '#model/container.ts';
import { conflict, forbidden, internal, invalid, notFound, notImplemented } from '#model/errors.ts';
import type { IpamPool, NetworkRecord } from '#model/network.ts';
import { DnsServer } from './dns-server.ts';
import { emptyEndpoint, endpointOf, networkOfMode } from './endpoint-request.ts';
import { type AddressPool, chooseAddress, completePool, DEFAULT_POOLS } from './ipam.ts';
import { formatAddress, parseAddress, parseSubnet } from './ipv4.ts';
import { macOf } from './mac-address.ts';
import { NetworkNames } from './network-names.ts';
import { PublishedPorts } from './published-ports.ts';
import { gatewayResolvConf, hostResolvConf, hostsFile } from './resolver-files.ts';
import { addBridge, type BridgeRules, removeBridge, wholeTable } from './ruleset.ts';

export interface NetworkCreateRequest {
  Name: string;
  Driver?: string;
  Internal?: boolean;
  Attachable?: boolean;
  EnableIPv4?: boolean;
  EnableIPv6?: boolean;
  IPAM?: { Driver?: string; Options?: Record<string, string>; Config?: Partial<IpamPool>[] };
  Options?: Record<string, string>;
  Labels?: Record<string, string>;
}

/** A container's place on a network while it runs. */
export interface LiveEndpoint {
  containerId: string;
  name: string;
  endpoint: EndpointSettings;
  dns: readonly string[];
  hostName: string;
}

export interface Joined {
  namespacePath: string;
  networks: Record<string, EndpointSettings>;
  ports: Record<string, PortBinding[]>;
}

const BUILT_IN = ['bridge', 'host', 'none'];
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
const BRIDGE_NAME = 'com.docker.network.bridge.name';
const MTU = 'com.docker.network.driver.mtu';
const ICC = 'com.docker.network.bridge.enable_icc';
const MASQUERADE = 'com.docker.network.bridge.enable_ip_masquerade';
const HOST_BINDING = 'com.docker.network.bridge.host_binding_ipv4';
const DEFAULT_BRIDGE = 'com.docker.network.bridge.default_bridge';
const INTERFACE_NAME_LENGTH = 15;

/**
 * The networks of one host. What is asked for is in the records; bridges, namespaces and one nftables table are in the kernel
 * and stay there when the daemon dies; addresses and names in use are those of the running containers, read again at start.
 */
export class NetworkStore {
  readonly #records: RecordStore;
  readonly #events: EventBus;
  readonly #bridge: string;
  readonly #bip: string | undefined;
  readonly #pools: readonly AddressPool[];
  readonly #execRoot: string;
  readonly #dns: readonly string[];
  readonly #log: Logger;
  readonly #table: string;
  readonly #nftables = new Nftables();
  /** By network ID, then container ID. */
  readonly #endpoints = new Map<string, Map<string, LiveEndpoint>>();
  readonly #servers = new Map<string, DnsServer>();
  readonly #ports: PublishedPorts;

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
    this.#dns = o.dns ?? [];
    this.#log = o.log;
    this.#table = `drover_${o.bridge.replace(/[^a-zA-Z0-9_]/g, '_')}`;
    this.#ports = new PublishedPorts({ table: this.#table, nftables: this.#nftables, log: o.log });
    mkdirSync(join(o.execRoot, 'netns'), { recursive: true, mode: 0o710 });
  }

  /** Makes what is missing of the default networks, bridges and rules, and takes over what the running containers have. */
  async start(running: readonly ContainerRecord[]): Promise<void> {
    enable('/proc/sys/net/ipv4/ip_forward');
    this.#makeBuiltIn();
    for (const network of this.#bridges()) this.#raiseBridge(network);
    const alive = new Set(running.map(({ id }) => id));
    for (const id of readdirSync(join(this.#execRoot, 'netns'))) {
      if (!alive.has(id)) removeNetworkNamespace(this.namespacePath(id));
    }
    for (const container of running) {
      for (const [name, endpoint] of Object.entries(container.networks)) {
        const network = this.#find(name);
        if (network?.Driver === 'bridge' && endpoint.IPAddress !== '')
          this.#register(network, container, endpoint);
      }
      this.#ports.adopt(container);
    }
    this.#nftables.run(wholeTable(this.#table, this.#bridges().map(rulesOf), this.#ports.list()));
  }

  /** Closes sockets; bridges, namespaces and rules stay and go on working. */
  async stop(): Promise<void> {
    for (const server of this.#servers.values()) server[Symbol.dispose]();
    this.#servers.clear();
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
    const network = this.#find(reference);
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
    if (!NETWORK_NAME.test(o.Name)) {
      throw invalid(
        `invalid network name ${JSON.stringify(o.Name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed, up to 255 characters`,
      );
    }
    const pool = completePool(o.IPAM?.Config?.[0], this.#pools, this.#takenSubnets());
    const Id = randomBytes(32).toString('hex');
    const bridgeName = o.Options?.[BRIDGE_NAME] ?? `br-${Id.slice(0, 12)}`;
    if (bridgeName.length > INTERFACE_NAME_LENGTH)
      throw invalid(`invalid bridge name ${JSON.stringify(bridgeName)}: longer than 15 characters`);
    const record: NetworkRecord = {
      Id,
      Name: o.Name,
      Created: new Date().toISOString(),
      Driver: 'bridge',
      Internal: o.Internal ?? false,
      Attachable: o.Attachable ?? false,
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: { Driver: 'default', Options: o.IPAM?.Options ?? {}, Config: [pool] },
      Options: o.Options ?? {},
      Labels: o.Labels ?? {},
      bridgeName,
    };
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
    if (BUILT_IN.includes(network.Name))
      throw forbidden(`${network.Name} is a pre-defined network and cannot be removed`);
    if (this.endpointsOf(network.Id).length > 0) {
      throw forbidden(
        `error while removing network: network ${network.Name} id ${network.Id} has active endpoints`,
      );
    }
    this.#records.delete('network', network.Id);
    this.#servers.get(network.Id)?.[Symbol.dispose]();
    this.#servers.delete(network.Id);
    this.#nftables.run(removeBridge(this.#table, rulesOf(network)));
    this.#dropBridge(network);
    this.#events.publish('network', 'destroy', network.Id, { name: network.Name, type: network.Driver });
  }

  /** Removes the networks that nobody uses and `accept` agrees to; gives their names. */
  prune(accept: (network: NetworkRecord) => boolean): string[] {
    const wanted = new Set(
      this.#records.list<ContainerRecord>('container').flatMap(({ networks }) => Object.keys(networks)),
    );
    const unused = this.list().filter(
      (network) =>
        !BUILT_IN.includes(network.Name) &&
        !wanted.has(network.Name) &&
        this.endpointsOf(network.Id).length === 0 &&
        accept(network),
    );
    for (const network of unused) this.remove(network.Id);
    return unused.map((network) => network.Name);
  }

  endpointsOf(networkId: string): LiveEndpoint[] {
    return [...(this.#endpoints.get(networkId)?.values() ?? [])];
  }

  /**
   * Gives a container that is about to start its network: namespace, addresses, published ports, names. All undone on error.
   * Synchronous, one to two milliseconds a network.
   */
  join(container: ContainerRecord): Joined {
    const namespacePath = this.namespacePath(container.id);
    removeNetworkNamespace(namespacePath);
    createNetworkNamespace(namespacePath);
    const networks: Record<string, EndpointSettings> = {};
    try {
      const asked = Object.entries(container.networks).map(
        ([name, settings]) => [this.resolve(name), settings] as const,
      );
      const gateway = this.#gatewayNetwork(
        asked.map(([network]) => network),
        container,
      );
      // Joining a bridge does this on its way.
      if (!asked.some(([{ Driver }]) => Driver === 'bridge')) bringLoopbackUp(namespacePath);
      for (const [index, [network, settings]] of asked.entries()) {
        networks[network.Name] =
          network.Driver === 'bridge'
            ? this.#attach(container, network, settings, { index, isGateway: network.Id === gateway?.Id })
            : { ...settings, NetworkID: network.Id, EndpointID: randomBytes(32).toString('hex') };
      }
      const ports =
        gateway === undefined
          ? {}
          : this.#ports.open(container, {
              address: networks[gateway.Name]?.IPAddress ?? '',
              defaultHostAddress: gateway.Options[HOST_BINDING] ?? '0.0.0.0',
            });
      return { namespacePath, networks, ports };
    } catch (error) {
      this.leave(container);
      throw error;
    }
  }

  /** Gives back what the container has. Safe to repeat. */
  leave(container: ContainerRecord): void {
    this.#ports.close(container.id);
    for (const [networkId, endpoints] of this.#endpoints) {
      const left = endpoints.get(container.id);
      if (left === undefined) continue;
      endpoints.delete(container.id);
      this.#announce('disconnect', networkId, container.id);
    }
    removeNetworkNamespace(this.namespacePath(container.id));
  }

  /** Puts a container, running or not, on one more network; gives all of its networks. */
  connect(
    container: ContainerRecord,
    reference: string,
    settings: Partial<EndpointSettings>,
  ): Record<string, EndpointSettings> {
    const network = this.resolve(reference);
    const { networks } = container;
    if (networks[network.Name] !== undefined) {
      throw forbidden(`endpoint with name ${container.name} already exists in network ${network.Name}`);
    }
    const mode = networkOfMode(container.hostConfig.NetworkMode);
    if (mode === 'host' || network.Driver === 'host')
      throw invalid('container cannot be disconnected from host network or connected to host network');
    if (mode.startsWith('container:'))
      throw invalid(
        'container sharing network namespace with another container or host cannot be connected to any other network',
      );
    if (network.Driver === 'null')
      throw invalid(
        'container cannot be connected to multiple networks with one of the networks in private (none) mode',
      );
    const endpoint = endpointOf(network.Name, settings);
    const { none, ...others } = networks;
    const kept = none === undefined ? networks : others;
    if (!container.state.Running) return { ...kept, [network.Name]: endpoint };
    const index = this.#freeInterface(container.id);
    const isGateway = Object.keys(kept).length === 0;
    return { ...kept, [network.Name]: this.#attach(container, network, endpoint, { index, isGateway }) };
  }

  /** Takes a container, running or not, off a network; gives the networks that are left. */
  disconnect(
    container: ContainerRecord,
    reference: string,
    force: boolean,
  ): Record<string, EndpointSettings> {
    const network = this.#find(reference);
    const name = network?.Name ?? reference;
    const { [name]: endpoint, ...rest } = container.networks;
    if (endpoint === undefined) {
      if (force) return rest;
      if (network === undefined) throw notFound(`network ${reference} not found`);
      throw forbidden(`container ${container.id} is not connected to network ${name}`);
    }
    if (network?.Driver === 'host')
      throw invalid('container cannot be disconnected from host network or connected to host network');
    const live = network === undefined ? undefined : this.#endpoints.get(network.Id)?.get(container.id);
    if (live !== undefined && network !== undefined) {
      this.#ports.close(container.id, endpoint.IPAddress);
      deleteLink(live.hostName);
      this.#endpoints.get(network.Id)?.delete(container.id);
      const next = Object.values(rest).find((each) => each.Gateway !== '');
      replaceDefaultRoute({ namespacePath: this.namespacePath(container.id), gateway: next?.Gateway });
      this.#announce('disconnect', network.Id, container.id);
    }
    return rest;
  }

  /** The container has another name from now on. */
  rename(container: ContainerRecord, oldName: string): void {
    for (const endpoints of this.#endpoints.values()) {
      const live = endpoints.get(container.id);
      if (live === undefined) continue;
      const dns = live.dns.map((name) => (name === oldName ? container.name : name));
      endpoints.set(container.id, { ...live, name: container.name, dns });
    }
  }

  namespacePath(containerId: string): string {
    return join(this.#execRoot, 'netns', containerId);
  }

  resolvConf(container: ContainerRecord): string {
    const hostFile = readFileSync('/etc/resolv.conf', 'utf8');
    const own = Object.keys(container.networks)
      .map((name) => this.#find(name))
      .find((network) => network?.Driver === 'bridge' && network.Name !== 'bridge');
    const gateway = own?.IPAM.Config[0]?.Gateway;
    return gateway === undefined
      ? hostResolvConf(container, hostFile)
      : gatewayResolvConf(container, gateway, hostFile);
  }

  hosts(container: ContainerRecord): string {
    const defaultGateway = this.resolve('bridge').IPAM.Config[0]?.Gateway ?? '';
    const addresses = Object.values(container.networks)
      .map((endpoint) => endpoint.IPAddress)
      .filter((address) => address !== '');
    return hostsFile(container, { addresses, hostGateway: defaultGateway, links: this.#links(container) });
  }

  #links(container: ContainerRecord): { address: string; names: string[] }[] {
    return (container.hostConfig.Links ?? []).map((link) => {
      const [target = '', alias = target] = link.split(':');
      const wanted = target.replace(/^\//, '');
      const found = [...this.#endpoints.values()]
        .flatMap((endpoints) => [...endpoints.values()])
        .find((live) => live.name === wanted || live.containerId.startsWith(wanted));
      if (found === undefined) throw invalid(`Cannot link to a non running container: ${link}`);
      const names = new Set([alias.split('/').at(-1) ?? alias, found.name, found.containerId.slice(0, 12)]);
      return { address: found.endpoint.IPAddress, names: [...names] };
    });
  }

  #find(reference: string): NetworkRecord | undefined {
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
    return this.list().filter(({ Driver }) => Driver === 'bridge');
  }

  #makeBuiltIn(): void {
    const existing = new Map(this.list().map((network) => [network.Name, network]));
    for (const [Name, Driver] of [
      ['bridge', 'bridge'],
      ['host', 'host'],
      ['none', 'null'],
    ] as const) {
      const old = existing.get(Name);
      const pool = Driver === 'bridge' ? [this.#defaultPool(old)] : [];
      const record: NetworkRecord = {
        Id: old?.Id ?? randomBytes(32).toString('hex'),
        Name,
        Created: old?.Created ?? new Date().toISOString(),
        Driver,
        Internal: false,
        Attachable: false,
        EnableIPv4: true,
        EnableIPv6: false,
        IPAM: { Driver: 'default', Options: null, Config: pool },
        Options:
          Driver === 'bridge'
            ? {
                [DEFAULT_BRIDGE]: 'true',
                [BRIDGE_NAME]: this.#bridge,
                [ICC]: 'true',
                [MASQUERADE]: 'true',
                [HOST_BINDING]: '0.0.0.0',
                [MTU]: '1500',
              }
            : {},
        Labels: {},
        bridgeName: Driver === 'bridge' ? this.#bridge : '',
      };
      this.#records.put('network', record.Id, record);
    }
  }

  #defaultPool(old: NetworkRecord | undefined): IpamPool {
    const [kept] = old?.IPAM.Config ?? [];
    if (this.#bip === undefined) return kept ?? completePool(undefined, this.#pools, this.#takenSubnets());
    const [address = '', prefix = ''] = this.#bip.split('/');
    const subnet = parseSubnet(`${address}/${prefix}`);
    return {
      Subnet: `${formatAddress(subnet.base)}/${prefix}`,
      Gateway: formatAddress(parseAddress(address)),
    };
  }

  /** Subnets that a new network must not touch: our networks', and what the host has a route to. */
  #takenSubnets(): { networks: ReturnType<typeof parseSubnet>[]; routes: ReturnType<typeof parseSubnet>[] } {
    const networks = this.#bridges().flatMap(({ IPAM }) =>
      IPAM.Config.map(({ Subnet }) => parseSubnet(Subnet)),
    );
    const known = [
      ...listRoutes().map(({ destination }) => destination),
      ...listAddresses().map(({ address }) => address),
    ];
    const routes = known.filter((cidr) => !cidr.includes(':') && !cidr.endsWith('/0')).map(parseSubnet);
    return { networks, routes };
  }

  /** Makes the bridge where it is missing, with its address, and answers DNS on it. */
  #raiseBridge(network: NetworkRecord): void {
    const mtu = Number(network.Options[MTU] ?? 0);
    const [pool] = network.IPAM.Config;
    if (pool?.Gateway === undefined) throw internal(`network ${network.Name} has no gateway`);
    try {
      createBridge({ name: network.bridgeName, mac: macOf(pool.Gateway), ...(mtu > 0 ? { mtu } : {}) });
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    addAddress({ link: network.bridgeName, address: `${pool.Gateway}/${parseSubnet(pool.Subnet).prefix}` });
    setLinkUp(network.bridgeName);
    // Lets what goes to 127.0.0.1 be translated to a container, on this bridge only.
    enable(`/proc/sys/net/ipv4/conf/${network.bridgeName}/route_localnet`);
    if (network.Name === 'bridge') return;
    const names = new NetworkNames({
      endpoints: () => this.endpointsOf(network.Id),
      networkName: network.Name,
      forwarders: (asker) => this.#forwarders(network, asker),
    });
    this.#servers.set(network.Id, new DnsServer({ address: pool.Gateway, names, log: this.#log }));
  }

  #dropBridge(network: NetworkRecord): void {
    this.#servers.get(network.Id)?.[Symbol.dispose]();
    this.#servers.delete(network.Id);
    deleteLink(network.bridgeName);
  }

  #forwarders(network: NetworkRecord, asker: string): string[] {
    const live = this.endpointsOf(network.Id).find(({ endpoint }) => endpoint.IPAddress === asker);
    const container =
      live === undefined ? undefined : this.#records.get<ContainerRecord>('container', live.containerId);
    const own = container?.hostConfig.Dns ?? [];
    if (own.length > 0) return own;
    if (this.#dns.length > 0) return [...this.#dns];
    if (network.Internal) return [];
    return [...readFileSync('/etc/resolv.conf', 'utf8').matchAll(/^nameserver\s+(\S+)/gm)].map(
      ([, server = '']) => server,
    );
  }

  /** The network that has the default route and the published ports: the highest priority, then the first that leads out. */
  #gatewayNetwork(networks: readonly NetworkRecord[], container: ContainerRecord): NetworkRecord | undefined {
    const priority = (network: NetworkRecord): number => container.networks[network.Name]?.GwPriority ?? 0;
    return networks
      .filter(({ Driver, Internal }) => Driver === 'bridge' && !Internal)
      .toSorted((a, b) => priority(b) - priority(a))[0];
  }

  #freeInterface(containerId: string): number {
    const taken = new Set(
      [...this.#endpoints.values()].map((endpoints) => endpoints.get(containerId)?.hostName.slice(-1)),
    );
    let index = 0;
    while (taken.has(index.toString(36))) index += 1;
    return index;
  }

  #attach(
    container: ContainerRecord,
    network: NetworkRecord,
    asked: EndpointSettings,
    o: { index: number; isGateway: boolean },
  ): EndpointSettings {
    const [pool] = network.IPAM.Config;
    if (pool === undefined) throw internal(`network ${network.Name} has no addresses`);
    const used = new Set(this.endpointsOf(network.Id).map(({ endpoint }) => endpoint.IPAddress));
    const address = chooseAddress(pool, asked.IPAMConfig?.IPv4Address, used);
    const { prefix } = parseSubnet(pool.Subnet);
    const mac = asked.MacAddress === '' ? macOf(address) : asked.MacAddress;
    const hostName = `v${container.id.slice(0, 8)}${network.Id.slice(0, 5)}${o.index.toString(36)}`;
    const mtu = Number(network.Options[MTU] ?? 0);
    const gateway = pool.Gateway;
    attachOnce({
      namespacePath: this.namespacePath(container.id),
      bridge: network.bridgeName,
      hostName,
      interfaceName: `eth${o.index}`,
      mac,
      ...(mtu > 0 ? { mtu } : {}),
      addresses: [`${address}/${prefix}`],
      ...(o.isGateway && gateway !== undefined ? { gateway } : {}),
    });
    const endpoint: EndpointSettings = {
      ...emptyEndpoint(),
      ...asked,
      NetworkID: network.Id,
      EndpointID: randomBytes(32).toString('hex'),
      Gateway: network.Internal ? '' : (gateway ?? ''),
      IPAddress: address,
      IPPrefixLen: prefix,
      MacAddress: mac,
    };
    endpoint.DNSNames = network.Name === 'bridge' ? null : dnsNames(container, endpoint);
    this.#register(network, container, endpoint, hostName);
    this.#announce('connect', network.Id, container.id);
    return endpoint;
  }

  #register(
    network: NetworkRecord,
    container: ContainerRecord,
    endpoint: EndpointSettings,
    hostName?: string,
  ): void {
    const endpoints = this.#endpoints.get(network.Id) ?? new Map<string, LiveEndpoint>();
    this.#endpoints.set(network.Id, endpoints);
    const index = Object.keys(container.networks).indexOf(network.Name);
    endpoints.set(container.id, {
      containerId: container.id,
      name: container.name,
      endpoint,
      dns: dnsNames(container, endpoint),
      hostName:
        hostName ?? `v${container.id.slice(0, 8)}${network.Id.slice(0, 5)}${Math.max(0, index).toString(36)}`,
    });
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

function checkRequest(o: NetworkCreateRequest): void {
  if (!NAME.test(o.Name))
    throw invalid(
      `invalid network name ${JSON.stringify(o.Name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  if (BUILT_IN.includes(o.Name) || o.Name === 'default')
    throw forbidden(`operation is not permitted on predefined ${o.Name} network`);
  const driver = o.Driver === undefined || o.Driver === '' ? 'bridge' : o.Driver;
  if (driver === 'host' || driver === 'null')
    throw forbidden(`only one instance of "${driver}" network is allowed`);
  if (['overlay', 'macvlan', 'ipvlan'].includes(driver))
    throw notImplemented(`${driver} networks are not there yet: use the bridge driver`);
  if (driver !== 'bridge') throw notFound(`plugin ${JSON.stringify(driver)} not found`);
  if (o.EnableIPv6 === true) throw notImplemented('IPv6 networks are not there yet: leave out --ipv6');
  if (o.EnableIPv4 === false) throw notImplemented('networks without IPv4 are not there yet');
  const ipam = o.IPAM?.Driver ?? 'default';
  if (ipam !== '' && ipam !== 'default')
    throw invalid(`invalid ipam driver ${JSON.stringify(ipam)}: only default is there`);
  if ((o.IPAM?.Config ?? []).length > 1) throw invalid('bridge driver supports one subnet a network');
}

function rulesOf(network: NetworkRecord): BridgeRules {
  return {
    bridge: network.bridgeName,
    subnet: network.IPAM.Config[0]?.Subnet ?? '',
    internal: network.Internal,
    masquerade: network.Options[MASQUERADE] !== 'false',
    icc: network.Options[ICC] !== 'false',
  };
}

/**
 * The kernel takes the interfaces of a namespace down in its own time, so the last run's may still be there when a
 * container is started again at once.
 */
function attachOnce(o: Parameters<typeof attachToNamespace>[0]): void {
  try {
    attachToNamespace(o);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    deleteLink(o.hostName);
    attachToNamespace(o);
  }
}

function dnsNames(container: ContainerRecord, endpoint: EndpointSettings): string[] {
  const hostname = container.config.Hostname === '' ? [] : [container.config.Hostname];
  return [...new Set([container.name, ...(endpoint.Aliases ?? []), container.id.slice(0, 12), ...hostname])];
}

function enable(file: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8').trim() !== '1') writeFileSync(file, '1');
}
