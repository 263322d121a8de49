import type { ContainerRecord } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { createSchema, updateSchema } from './container-request.ts';
import { containerInspect, containerSummary, type Sizes } from './container-view.ts';
import type { EngineParts } from './engine-parts.ts';
import { parseFilters } from './filters.ts';
import { booleanOf, integerOf } from './query.ts';
import { readBody } from './request-body.ts';
import type { Route } from './route.ts';

/** Containers: to make, look at, change and remove them. */
export const containerRoutes: readonly Route[] = [
  { method: 'GET', path: '/containers/json', operation: 'ContainerList', handler: list },
  { method: 'POST', path: '/containers/create', operation: 'ContainerCreate', handler: create },
  { method: 'GET', path: '/containers/{id}/json', operation: 'ContainerInspect', handler: inspect },
  { method: 'GET', path: '/containers/{id}/top', operation: 'ContainerTop', handler: top },
  { method: 'POST', path: '/containers/{id}/rename', operation: 'ContainerRename', handler: rename },
  { method: 'POST', path: '/containers/{id}/update', operation: 'ContainerUpdate', handler: update },
  { method: 'DELETE', path: '/containers/{id}', operation: 'ContainerDelete', handler: remove },
  { method: 'POST', path: '/containers/prune', operation: 'ContainerPrune', handler: prune },
];

const LIST_FILTERS = [
  'ancestor',
  'before',
  'expose',
  'exited',
  'health',
  'id',
  'isolation',
  'is-task',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
];

async function list(call: Call): Promise<void> {
  const { parts, query } = call;
  const limit = integerOf(query, 'limit') ?? 0;
  const filters = parseFilters(query.get('filters'), LIST_FILTERS);
  const records = parts.containers.list({ all: booleanOf(query, 'all'), limit, filters });
  const nowMs = Date.now();
  const imageName = imageNames(parts);
  const withSizes = booleanOf(query, 'size');
  const lines: object[] = [];
  for (const record of records) {
    const sizes = withSizes ? await sizesOf(record, parts) : undefined;
    lines.push(containerSummary(record, { imageName: imageName(record), nowMs, sizes }));
  }
  call.json(200, lines);
}

/** What an image was called at create, as long as that name still means it; its ID afterwards. */
function imageNames(parts: EngineParts): (record: ContainerRecord) => string {
  const current = new Map<string, string | undefined>();
  return (record) => {
    const name = record.config.Image;
    if (!current.has(name)) {
      try {
        current.set(name, parts.images.resolve(name).id);
      } catch {
        // the image was removed, or its name no longer means one image
        current.set(name, undefined);
      }
    }
    return current.get(name) === record.imageId ? name : record.imageId;
  };
}

async function sizesOf(record: ContainerRecord, parts: EngineParts): Promise<Sizes> {
  const writable = await parts.filesystems.writableSize(record.id);
  const image = parts.images.withId(record.imageId);
  return { SizeRw: writable, SizeRootFs: writable + (image?.size ?? 0) };
}

async function create(call: Call): Promise<void> {
  const name = call.query.get('name') ?? '';
  const request = await readBody(call, createSchema);
  if ((request.config.Image ?? '') === '') throw invalid('no image specified: Image is empty');
  const platform = call.query.get('platform') ?? '';
  const { id, warnings } = await call.parts.containers.create({
    name,
    ...request,
    ...(platform === '' ? {} : { platform }),
  });
  call.json(201, { Id: id, Warnings: warnings });
}

async function inspect(call: Call): Promise<void> {
  const record = call.parts.containers.resolve(call.param('id'));
  const sizes = booleanOf(call.query, 'size') ? await sizesOf(record, call.parts) : undefined;
  call.json(200, containerInspect(record, call.parts, { sizes, execIds: call.parts.exec.idsOf(record.id) }));
}

async function top(call: Call): Promise<void> {
  const psArguments = call.query.get('ps_args') ?? '';
  call.json(200, await call.parts.containers.top(call.param('id'), psArguments === '' ? '-ef' : psArguments));
}

async function rename(call: Call): Promise<void> {
  const name = call.query.get('name') ?? '';
  if (name === '') throw invalid('Neither old nor new names may be empty');
  await call.parts.containers.rename(call.param('id'), name);
  call.empty(204);
}

async function update(call: Call): Promise<void> {
  const change = await readBody(call, updateSchema);
  await call.parts.containers.update(call.param('id'), change);
  call.json(200, { Warnings: [] });
}

async function remove(call: Call): Promise<void> {
  await call.parts.containers.remove(call.param('id'), {
    force: booleanOf(call.query, 'force'),
    volumes: booleanOf(call.query, 'v'),
    link: booleanOf(call.query, 'link'),
  });
  call.empty(204);
}

async function prune(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['label', 'label!', 'until']);
  call.json(200, await call.parts.containers.prune({ filters }));
}
