import { z } from 'zod';
import { invalid } from '#model/errors.ts';
import { matchesLabels } from '#model/filters.ts';
import type { NetworkRecord } from '#model/network.ts';
import type { Call } from './call.ts';
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

function list(call: Call): void {
  const { networks } = call.parts;
  const filters = parseFilters(call.query.get('filters'), LIST_FILTERS);
  const dangling = booleanFilter(filters, 'dangling');
  const includes = (key: string, matches: (value: string) => boolean): boolean =>
    filters[key] === undefined || filters[key].some(matches);
  const found = networks.list().filter((network) => {
    const builtIn = BUILT_IN.includes(network.Name);
    if (dangling !== undefined) {
      const unused = !builtIn && networks.endpointsOf(network.Id).length === 0;
      if (dangling !== unused) return false;
    }
    return (
      includes('driver', (driver) => network.Driver === driver) &&
      includes('id', (prefix) => network.Id.startsWith(prefix)) &&
      includes('name', (part) => network.Name.includes(part)) &&
      includes('scope', (scope) => scope === 'local') &&
      includes('type', (type) => typeMatches(type, builtIn)) &&
      matchesLabels(filters, network.Labels)
    );
  });
  call.json(
    200,
    found.map((network) => networkView(network, {})),
  );
}

function typeMatches(type: string, builtIn: boolean): boolean {
  if (type !== 'builtin' && type !== 'custom') throw invalid(`invalid filter: 'type'='${type}'`);
  return builtIn === (type === 'builtin');
}

function inspect(call: Call): void {
  const { networks } = call.parts;
  const scope = call.query.get('scope') ?? '';
  if (scope !== '' && scope !== 'local')
    throw invalid(`network scope ${scope} is not there: this is one host`);
  const network = networks.resolve(call.param('id'));
  const containers: Record<string, object> = {};
  for (const { containerId, name, endpoint } of networks.endpointsOf(network.Id)) {
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
  call.json(200, networkView(network, containers));
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
    Scope: z.enum(['', 'local'], 'only local networks are there').nullish(),
    Internal: z.boolean().nullish(),
    Attachable: z.boolean().nullish(),
    Ingress: z.literal(false, 'ingress networks are not there yet').nullish(),
    ConfigOnly: z.literal(false, 'is not there yet').nullish(),
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
  .transform(({ Name, Scope: _scope, Ingress: _ingress, ConfigOnly: _configOnly, ...rest }) => ({
    Name,
    ...present(rest),
  }));

async function create(call: Call): Promise<void> {
  const { record, warning } = call.parts.networks.create(await readBody(call, createSchema));
  call.json(201, { Id: record.Id, Warning: warning });
}

function remove(call: Call): void {
  call.parts.networks.remove(call.param('id'));
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

function prune(call: Call): void {
  const filters = parseFilters(call.query.get('filters'), ['label', 'label!', 'until']);
  const until = untilFilter(filters, Date.now());
  const deleted = call.parts.networks.prune(
    (network: NetworkRecord) =>
      (until === undefined || Date.parse(network.Created) < until) && matchesLabels(filters, network.Labels),
  );
  call.json(200, { NetworksDeleted: deleted.length === 0 ? null : deleted });
}
