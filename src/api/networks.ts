import { z } from 'zod';
import type { NetworkControl } from '#cluster/control/network-control.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { conflict, invalid, kindOf, notFound } from '#model/errors.ts';
import { matchesLabels } from '#model/filters.ts';
import type { NetworkRecord } from '#model/network.ts';
import type { Call } from './call.ts';
import { clusterNetworkView } from './cluster-network-view.ts';
import { endpointSchema } from './container-request.ts';
import { booleanFilter, parseFilters, untilFilter } from './filters.ts';
import { present, readBody, textMap } from './request-body.ts';
import type { Route } from './route.ts';

export const networkRoutes: readonly Route[] = [
  { method: 'GET', path: '/networks', operation: 'NetworkList', handler: list },
  { method: 'GET', path: '/networks/{id}', operation: 'NetworkInspect', handler: inspect },
  { method: 'DELETE', path: '/networks/{id}', operation: 'NetworkDelete', handler: remove },
  { method: 'POST', path: '/networks/create', operation: 'NetworkCreate', handler: create },
  { method: 'POST', path: '/networks/{id}/connect', operation: 'NetworkConnect', handler: connect },
  { method: 'POST', path: '/networks/{id}/disconnect', operation: 'NetworkDisconnect', handler: disconnect },
  { method: 'POST', path: '/networks/prune', operation: 'NetworkPrune', handler: prune },
];

/** The networks that are there from the start; they are no one's to prune, and `docker network ls` calls them builtin. */
const BUILT_IN = ['bridge', 'host', 'none'];

function networkView(network: NetworkRecord, containers: Record<string, object>): object {
  return {
    Name: network.Name,
    Id: network.Id,
    Created: network.Created,
    Scope: network.Driver === 'overlay' ? 'swarm' : 'local',
    Driver: network.Driver,
    EnableIPv4: network.EnableIPv4,
    EnableIPv6: network.EnableIPv6,
    IPAM: network.IPAM,
    Internal: network.Internal,
    Attachable: network.Attachable,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: containers,
    Options: network.Options,
    Labels: network.Labels,
  };
}

const LIST_FILTERS = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'];

/** The networks of the cluster, where this is one of its managers. */
function clusterNetworks(call: Call): NetworkControl | undefined {
  const { cluster } = call.parts;
  return cluster.info().controlAvailable ? cluster.control().networks : undefined;
}

/** The networks of this host; of the cluster's it has a part, which is shown where nobody knows the whole. */
function localNetworks(call: Call): NetworkRecord[] {
  const isWorker = clusterNetworks(call) === undefined;
  return call.parts.networks.list().filter(({ Driver }) => Driver !== 'overlay' || isWorker);
}

/** What filters ask of a network, whichever scope it has. */
interface NetworkTraits {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  readonly scope: 'local' | 'swarm';
  readonly labels: Record<string, string>;
  readonly builtIn: boolean;
  readonly isUnused: () => boolean;
}

function localTraits(call: Call, network: NetworkRecord): NetworkTraits {
  const builtIn = BUILT_IN.includes(network.Name);
  return {
    id: network.Id,
    name: network.Name,
    driver: network.Driver,
    scope: network.Driver === 'overlay' ? 'swarm' : 'local',
    labels: network.Labels,
    builtIn,
    isUnused: () => !builtIn && call.parts.networks.endpointsOf(network.Id).length === 0,
  };
}

function clusterTraits(call: Call, networks: NetworkControl, network: ClusterNetworkRecord): NetworkTraits {
  return {
    id: network.ID,
    name: network.Name,
    driver: network.Driver,
    scope: 'swarm',
    labels: network.Labels,
    builtIn: false,
    isUnused: () => networks.isUnused(network) && call.parts.networks.endpointsOf(network.ID).length === 0,
  };
}

function list(call: Call): void {
  const filters = parseFilters(call.query.get('filters'), LIST_FILTERS);
  const dangling = booleanFilter(filters, 'dangling');
  const includes = (key: string, matches: (value: string) => boolean): boolean =>
    filters[key] === undefined || filters[key].some(matches);
  const accepts = (network: NetworkTraits): boolean =>
    (dangling === undefined || dangling === network.isUnused()) &&
    includes('driver', (driver) => network.driver === driver) &&
    includes('id', (prefix) => network.id.startsWith(prefix)) &&
    includes('name', (part) => network.name.includes(part)) &&
    includes('scope', (scope) => network.scope === scope) &&
    includes('type', (type) => typeMatches(type, network.builtIn)) &&
    matchesLabels(filters, network.labels);
  const cluster = clusterNetworks(call);
  const local = localNetworks(call).filter((network) => accepts(localTraits(call, network)));
  const shared = cluster?.list().filter((network) => accepts(clusterTraits(call, cluster, network))) ?? [];
  call.json(200, [
    ...local.map((network) => networkView(network, {})),
    ...shared.map((network) => clusterNetworkView(network, {})),
  ]);
}

function typeMatches(type: string, builtIn: boolean): boolean {
  if (type !== 'builtin' && type !== 'custom') throw invalid(`invalid filter: 'type'='${type}'`);
  return builtIn === (type === 'builtin');
}

async function inspect(call: Call): Promise<void> {
  const scope = call.query.get('scope') ?? '';
  if (!['', 'local', 'swarm', 'global'].includes(scope)) throw invalid(`invalid network scope ${scope}`);
  const network = await findOrAskFor(call, scope);
  const view =
    'local' in network
      ? networkView(network.local, containersOn(call, network.local.Id))
      : clusterNetworkView(network.shared, containersOn(call, network.shared.ID));
  call.json(200, view);
}

/** This host's containers on a network. */
function containersOn(call: Call, networkId: string): Record<string, object> {
  const containers: Record<string, object> = {};
  for (const { containerId, name, endpoint } of call.parts.networks.endpointsOf(networkId)) {
    containers[containerId] = {
      Name: name,
      EndpointID: endpoint.EndpointID,
      MacAddress: endpoint.MacAddress,
      IPv4Address: endpoint.IPAddress === '' ? '' : `${endpoint.IPAddress}/${endpoint.IPPrefixLen}`,
      IPv6Address:
        endpoint.GlobalIPv6Address === ''
          ? ''
          : `${endpoint.GlobalIPv6Address}/${endpoint.GlobalIPv6PrefixLen}`,
    };
  }
  return containers;
}

/**
 * A network of this host or of the cluster; a whole ID or name counts before the beginning of an ID. `not-found` is neither's. Those that
 * every host has alike are the cluster's as well: clients look for them there when a service is to be on one.
 */
function findNetwork(call: Call, scope = ''): { local: NetworkRecord } | { shared: ClusterNetworkRecord } {
  const reference = call.param('id');
  const cluster = scope === 'local' ? undefined : clusterNetworks(call);
  const part = found(() => call.parts.networks.resolve(reference));
  const local = part?.Driver === 'overlay' && cluster !== undefined ? undefined : part;
  const isMeant =
    local !== undefined &&
    (scope === '' || scope === 'local' || (cluster !== undefined && BUILT_IN.includes(local.Name)));
  if (isMeant && [local.Id, local.Name].includes(reference)) return { local };
  const shared = found(() => cluster?.inspect(reference));
  if (shared !== undefined) return { shared };
  if (isMeant) return { local };
  throw notFound(`network ${reference} not found`);
}

/** As {@link findNetwork}; a worker asks a manager for one that its containers could be put on. */
async function findOrAskFor(call: Call, scope: string): Promise<ReturnType<typeof findNetwork>> {
  try {
    return findNetwork(call, scope);
  } catch (error) {
    if (kindOf(error) !== 'not-found' || scope === 'local' || clusterNetworks(call) !== undefined)
      throw error;
    const shared = await call.parts.cluster.attachableNetwork(call.param('id'));
    if (shared === undefined) throw error;
    return { shared };
  }
}

/** What `look` gives; undefined where there is none. */
function found<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (kindOf(error) === 'not-found') return undefined;
    throw error;
  }
}

const pool = z
  .object({
    Subnet: z.string().nullish(),
    IPRange: z.string().nullish(),
    Gateway: z.string().nullish(),
    AuxiliaryAddresses: textMap.nullish(),
  })
  .transform(present);

const createSchema = z
  .object({
    Name: z.string().min(1, 'is empty: a network needs a name'),
    Driver: z.string().nullish(),
    Scope: z.enum(['', 'local', 'swarm']).nullish(),
    Internal: z.boolean().nullish(),
    Attachable: z.boolean().nullish(),
    Ingress: z.boolean().nullish(),
    ConfigOnly: z.literal(false, 'is not there yet').nullish(),
    ConfigFrom: z.object({ Network: z.literal('', 'is not there yet').nullish() }).nullish(),
    EnableIPv4: z.boolean().nullish(),
    EnableIPv6: z.boolean().nullish(),
    IPAM: z
      .object({
        Driver: z.string().nullish(),
        Config: z.array(pool).nullish(),
        Options: textMap.nullish(),
      })
      .transform(present)
      .nullish(),
    Options: textMap.nullish(),
    Labels: textMap.nullish(),
  })
  .transform(({ Name, ConfigOnly: _configOnly, ConfigFrom: _configFrom, ...rest }) => ({
    Name,
    ...present(rest),
  }));

async function create(call: Call): Promise<void> {
  const { Scope, Ingress = false, ...request } = await readBody(call, createSchema);
  const { networks, cluster } = call.parts;
  if (request.Driver === 'overlay' && Scope !== 'local') {
    const control = cluster.control();
    const { ID } = await control.networks.create({ ...request, Ingress });
    call.json(201, { Id: ID, Warning: '' });
    return;
  }
  if (Scope === 'swarm' || request.Driver === 'overlay')
    throw invalid('networks of the swarm are those of the overlay driver, and of no other');
  if (Ingress) throw invalid('an ingress network needs the overlay driver');
  if (found(() => clusterNetworks(call)?.inspect(request.Name))?.Name === request.Name)
    throw conflict(`network with name ${request.Name} already exists`);
  const { record, warning } = networks.create(request);
  call.json(201, { Id: record.Id, Warning: warning });
}

async function remove(call: Call): Promise<void> {
  const network = findNetwork(call);
  if ('local' in network) call.parts.networks.remove(network.local.Id);
  else await call.parts.cluster.control().networks.remove(network.shared.ID);
  call.empty(204);
}

const connectSchema = z.object({
  Container: z.string().min(1, 'is empty'),
  EndpointConfig: endpointSchema.nullish(),
});

async function connect(call: Call): Promise<void> {
  const { Container, EndpointConfig } = await readBody(call, connectSchema);
  await call.parts.containers.connectNetwork(Container, call.param('id'), EndpointConfig ?? {});
  call.empty(200);
}

const disconnectSchema = z.object({
  Container: z.string().min(1, 'is empty'),
  Force: z.boolean().nullish(),
});

async function disconnect(call: Call): Promise<void> {
  const { Container, Force } = await readBody(call, disconnectSchema);
  await call.parts.containers.disconnectNetwork(Container, call.param('id'), Force ?? false);
  call.empty(200);
}

async function prune(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['label', 'label!', 'until']);
  const until = untilFilter(filters, Date.now());
  const accepts = (created: string, labels: Record<string, string>): boolean =>
    (until === undefined || Date.parse(created) < until) && matchesLabels(filters, labels);
  const deleted = call.parts.networks.prune(({ Created, Labels }) => accepts(Created, Labels));
  const cluster = clusterNetworks(call);
  for (const network of cluster?.list() ?? []) {
    if (cluster === undefined || !clusterTraits(call, cluster, network).isUnused()) continue;
    if (!accepts(network.CreatedAt, network.Labels)) continue;
    await cluster.remove(network.ID);
    deleted.push(network.Name);
  }
  call.json(200, { NetworksDeleted: deleted.length === 0 ? null : deleted });
}
