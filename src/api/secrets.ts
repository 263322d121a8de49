import { z } from 'zod';
import type { Call } from './call.ts';
import { CONTENT_FILTERS, contentView } from './file-content.ts';
import { parseFilters } from './filters.ts';
import { versionOf } from './query.ts';
import { present, readBody, textMap } from './request-body.ts';
import type { Route } from './route.ts';

export const secretRoutes: readonly Route[] = [
  { method: 'GET', path: '/secrets', operation: 'SecretList', handler: list },
  { method: 'POST', path: '/secrets/create', operation: 'SecretCreate', handler: create },
  { method: 'GET', path: '/secrets/{id}', operation: 'SecretInspect', handler: inspect },
  { method: 'DELETE', path: '/secrets/{id}', operation: 'SecretDelete', handler: remove },
  { method: 'POST', path: '/secrets/{id}/update', operation: 'SecretUpdate', handler: update },
];

const driver = z.object({ Name: z.string().nullish(), Options: textMap.nullish() }).transform(present);

const schema = z
  .object({
    Name: z.string().nullish(),
    Labels: textMap.nullish(),
    Data: z.string().nullish(),
    Driver: driver.nullish(),
    Templating: driver.nullish(),
  })
  .transform(({ Name, Data, ...rest }) => ({
    spec: { Name: Name ?? '', ...present(rest) },
    data: Data ?? '',
  }));

function list(call: Call): void {
  const filters = parseFilters(call.query.get('filters'), CONTENT_FILTERS);
  call.json(200, call.parts.cluster.control().secrets.list(filters).map(contentView));
}

async function create(call: Call): Promise<void> {
  const { secrets } = call.parts.cluster.control();
  call.json(201, { ID: await secrets.create(await readBody(call, schema)) });
}

function inspect(call: Call): void {
  call.json(200, contentView(call.parts.cluster.control().secrets.inspect(call.param('id'))));
}

async function remove(call: Call): Promise<void> {
  await call.parts.cluster.control().secrets.remove(call.param('id'));
  call.empty(204);
}

async function update(call: Call): Promise<void> {
  const { secrets } = call.parts.cluster.control();
  const version = versionOf(call.query, 'secret');
  await secrets.update(call.param('id'), { version, ...(await readBody(call, schema)) });
  call.empty(200);
}
