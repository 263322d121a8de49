import { z } from 'zod';
import type { ConfigSpec } from '#cluster/control/config-control.ts';
import type { Call } from './call.ts';
import { CONTENT_FILTERS, contentView } from './file-content.ts';
import { parseFilters } from './filters.ts';
import { versionOf } from './query.ts';
import { present, readBody, textMap } from './request-body.ts';
import type { Route } from './route.ts';

export const configRoutes: readonly Route[] = [
  { method: 'GET', path: '/configs', operation: 'ConfigList', handler: list },
  { method: 'POST', path: '/configs/create', operation: 'ConfigCreate', handler: create },
  { method: 'GET', path: '/configs/{id}', operation: 'ConfigInspect', handler: inspect },
  { method: 'DELETE', path: '/configs/{id}', operation: 'ConfigDelete', handler: remove },
  { method: 'POST', path: '/configs/{id}/update', operation: 'ConfigUpdate', handler: update },
];

const schema = z
  .object({
    Name: z.string().nullish(),
    Labels: textMap.nullish(),
    Data: z.string().nullish(),
    Templating: z
      .object({ Name: z.string().nullish(), Options: textMap.nullish() })
      .transform(present)
      .nullish(),
  })
  .transform(
    ({ Name, Data, ...rest }): ConfigSpec => ({
      Name: Name ?? '',
      Data: Data ?? '',
      ...present(rest),
    }),
  );

function list(call: Call): void {
  const filters = parseFilters(call.query.get('filters'), CONTENT_FILTERS);
  call.json(200, call.parts.cluster.control().configs.list(filters).map(contentView));
}

async function create(call: Call): Promise<void> {
  const { configs } = call.parts.cluster.control();
  call.json(201, { ID: await configs.create(await readBody(call, schema)) });
}

function inspect(call: Call): void {
  call.json(200, contentView(call.parts.cluster.control().configs.inspect(call.param('id'))));
}

async function remove(call: Call): Promise<void> {
  await call.parts.cluster.control().configs.remove(call.param('id'));
  call.empty(204);
}

async function update(call: Call): Promise<void> {
  const { configs } = call.parts.cluster.control();
  const version = versionOf(call.query, 'config');
  await configs.update(call.param('id'), { version, spec: await readBody(call, schema) });
  call.empty(200);
}
