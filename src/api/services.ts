import type { ServiceRequest } from '#cluster/control/service-control.ts';
import { randomName } from '#engine/containers/names.ts';
import { invalid } from '#model/errors.ts';
import { parseRegistryAuth } from '#registry/credentials.ts';
import type { Call } from './call.ts';
import { parseFilters } from './filters.ts';
import { booleanOf, versionOf } from './query.ts';
import { readBody } from './request-body.ts';
import type { Route } from './route.ts';
import { serviceSpecSchema } from './service-request.ts';
import { serviceView } from './service-view.ts';

export const serviceRoutes: readonly Route[] = [
  { method: 'GET', path: '/services', operation: 'ServiceList', handler: list },
  { method: 'POST', path: '/services/create', operation: 'ServiceCreate', handler: create },
  { method: 'GET', path: '/services/{id}', operation: 'ServiceInspect', handler: inspect },
  { method: 'DELETE', path: '/services/{id}', operation: 'ServiceDelete', handler: remove },
  { method: 'POST', path: '/services/{id}/update', operation: 'ServiceUpdate', handler: update },
];

/** From this version on clients ask the registry for the image's digest themselves. */
const CLIENTS_PIN_IMAGES = 1030;

function list(call: Call): void {
  const { services } = call.parts.cluster.control();
  const filters = parseFilters(call.query.get('filters'), ['id', 'label', 'mode', 'name', 'runtime']);
  const wantsStatus = booleanOf(call.query, 'status');
  const views = services
    .list(filters)
    .map((service) => serviceView(service, wantsStatus ? { status: services.status(service.record) } : {}));
  call.json(200, views);
}

function inspect(call: Call): void {
  const service = call.parts.cluster.control().services.inspect(call.param('id'));
  call.json(200, serviceView(service, { insertDefaults: booleanOf(call.query, 'insertDefaults') }));
}

async function create(call: Call): Promise<void> {
  const { services } = call.parts.cluster.control();
  const request = await readRequest(call);
  const named = request.spec.Name !== '';
  const Name = named ? request.spec.Name : randomName((name) => services.isNameTaken(name));
  const { id, warnings } = await services.create({ ...request, spec: { ...request.spec, Name } });
  call.json(201, { ID: id, Warnings: warnings.length === 0 ? null : warnings });
}

async function update(call: Call): Promise<void> {
  const { services } = call.parts.cluster.control();
  const version = versionOf(call.query, 'service');
  const rollback = call.query.get('rollback') ?? '';
  if (rollback !== '' && rollback !== 'previous' && rollback !== 'none')
    throw invalid(`unrecognized rollback option ${rollback}`);
  const from = call.query.get('registryAuthFrom') ?? '';
  if (from !== '' && from !== 'spec' && from !== 'previous-spec')
    throw invalid('unsupported registryAuthFrom value');
  const { warnings } = await services.update(call.param('id'), {
    ...(await readRequest(call)),
    version,
    rollback: rollback === 'previous',
    ...(from === '' ? {} : { registryAuthFrom: from }),
  });
  call.json(200, { Warnings: warnings.length === 0 ? null : warnings });
}

async function remove(call: Call): Promise<void> {
  await call.parts.cluster.control().services.remove(call.param('id'));
  call.empty(200);
}

async function readRequest(call: Call): Promise<ServiceRequest> {
  const header = call.request.headers['x-registry-auth'];
  const registryAuth = typeof header === 'string' ? header : '';
  const given = Object.values(parseRegistryAuth(registryAuth)).some((field) => (field ?? '') !== '');
  const spec = await readBody(call, serviceSpecSchema);
  return {
    spec,
    ...(given ? { registryAuth } : {}),
    queryRegistry: call.version < CLIENTS_PIN_IMAGES,
  };
}
