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
import { conflict, forbidden, internal, invalid, notFound } from '#model/errors.ts';
import type { IpamPool, NetworkRecord } from '#model/network.ts';
import { DnsServer } from './dns-server.ts';
import { emptyEndpoint, endpointOf, networkOfMode } from './endpoint-request.ts';
import { type AddressPool, chooseAddress, completePool, DEFAULT_POOLS } from './ipam.ts';
import { formatAddress, parseAddress, parseSubnet } from './ipv4.ts';
import { dnsNames, hostNamePrefix, type LiveEndpoint, LiveEndpoints } from './live-endpoints.ts';
import { macOf } from './mac-address.ts';
import { NetworkNames } from './network-names.ts';
import {
  bridgeNameOf,
  checkRequest,
  defaultBridgeOptions,
  isBuiltIn,
  mtuOf,
  type NetworkCreateRequest,
  publishingAddressOf,
  rulesOf,
} from './network-options.ts';
import { PublishedPorts } from './published-ports.ts';
import { gatewayResolvConf, hostResolvConf, hostsFile } from './resolver-files.ts';
import { addBridge, removeBridge, wholeTable } from './ruleset.ts';

export interface Joined {
  namespacePath: string;
  networks: Record<string, EndpointSettings>;
  ports: Record<string, PortBinding[]>;
}

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
  readonly #endpoints = new LiveEndpoints();
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
    const links = listLinks().map(({ name }) => name);
    for (const container of running) {
      for (const [name, endpoint] of Object.entries(container.networks)) {
        const network = this.#find(name);
        if (network?.Driver !== 'bridge' || endpoint.IPAddress === '') continue;
        const prefix = hostNamePrefix(network.Id, container.id);
        const hostName = links.find((link) => link.startsWith(prefix)) ?? `${prefix}0`;
        this.#endpoints.add(network.Id, container, endpoint, hostName);
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
    const pool = completePool(o.IPAM?.Config?.[0], this.#pools, this.#takenSubnets());
    const Id = randomBytes(32).toString('hex');
    const bridgeName = bridgeNameOf(o, Id);
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
    if (isBuiltIn(network.Name))
      throw forbidden(`${network.Name} is a pre-defined network and cannot be removed`);
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
    const unused = this.list().filter(
      (network) =>
        !isBuiltIn(network.Name) &&
        !wanted.has(network.Name) &&
        this.#endpoints.on(network.Id).length === 0 &&
        accept(network),
    );
    for (const network of unused) this.remove(network.Id);
    return unused.map((network) => network.Name);
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
              defaultHostAddress: publishingAddressOf(gateway),
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
    for (const networkId of this.#endpoints.networksOf(container.id)) {
      this.#endpoints.remove(networkId, container.id);
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
    const index = this.#endpoints.freeInterface(container.id);
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
    const live = network === undefined ? undefined : this.#endpoints.of(network.Id, container.id);
    if (live !== undefined && network !== undefined) {
      this.#ports.close(container.id, endpoint.IPAddress);
      deleteLink(live.hostName);
      this.#endpoints.remove(network.Id, container.id);
      const next = Object.values(rest).find((each) => each.Gateway !== '');
      replaceDefaultRoute({ namespacePath: this.namespacePath(container.id), gateway: next?.Gateway });
      this.#announce('disconnect', network.Id, container.id);
    }
    return rest;
  }

  endpointsOf(networkId: string): LiveEndpoint[] {
    return this.#endpoints.on(networkId);
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
    return hostsFile(container, {
      addresses,
      hostGateway: defaultGateway,
      links: this.#endpoints.links(container),
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
        Options: Driver === 'bridge' ? defaultBridgeOptions(this.#bridge) : {},
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
    const known = [...listRoutes(), ...listAddresses()];
    const routes = known.filter((cidr) => !cidr.includes(':') && !cidr.endsWith('/0')).map(parseSubnet);
    return { networks, routes };
  }

  /** Makes the bridge where it is missing, with its address, and answers DNS on it. */
  #raiseBridge(network: NetworkRecord): void {
    const mtu = mtuOf(network);
    const [pool] = network.IPAM.Config;
    if (pool?.Gateway === undefined) throw internal(`network ${network.Name} has no gateway`);
    try {
      createBridge({
        name: network.bridgeName,
        mac: macOf(pool.Gateway),
        ...(mtu === undefined ? {} : { mtu }),
      });
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    addAddress({ link: network.bridgeName, address: `${pool.Gateway}/${parseSubnet(pool.Subnet).prefix}` });
    setLinkUp(network.bridgeName);
    // Lets what goes to 127.0.0.1 be translated to a container, on this bridge only.
    enable(`/proc/sys/net/ipv4/conf/${network.bridgeName}/route_localnet`);
    if (network.Name === 'bridge') return;
    const names = new NetworkNames({
      endpoints: () => this.#endpoints.on(network.Id),
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
    const live = this.#endpoints.on(network.Id).find(({ endpoint }) => endpoint.IPAddress === asker);
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

  #attach(
    container: ContainerRecord,
    network: NetworkRecord,
    asked: EndpointSettings,
    o: { index: number; isGateway: boolean },
  ): EndpointSettings {
    const [pool] = network.IPAM.Config;
    if (pool === undefined) throw internal(`network ${network.Name} has no addresses`);
    const used = new Set(this.#endpoints.on(network.Id).map(({ endpoint }) => endpoint.IPAddress));
    const address = chooseAddress(pool, asked.IPAMConfig?.IPv4Address, used);
    const { prefix } = parseSubnet(pool.Subnet);
    const mac = asked.MacAddress === '' ? macOf(address) : asked.MacAddress;
    const hostName = `${hostNamePrefix(network.Id, container.id)}${o.index.toString(36)}`;
    const mtu = mtuOf(network);
    const gateway = pool.Gateway;
    attachOnce({
      namespacePath: this.namespacePath(container.id),
      bridge: network.bridgeName,
      hostName,
      interfaceName: `eth${o.index}`,
      mac,
      ...(mtu === undefined ? {} : { mtu }),
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

function enable(file: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8').trim() !== '1') writeFileSync(file, '1');
}
