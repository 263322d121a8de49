import { pipeline } from 'node:stream/promises';
import { invalid, notImplemented } from '#model/errors.ts';
import { matchesLabels } from '#model/filters.ts';
import type { Image } from '#model/image.ts';
import type { Call } from './call.ts';
import { booleanFilter, parseFilters, untilFilter } from './filters.ts';
import { filterImages, IMAGE_FILTERS } from './image-filters.ts';
import { createdSeconds, imageInspect, imageSummary } from './image-view.ts';
import { JsonStream } from './json-stream.ts';
import { booleanOf } from './query.ts';
import type { Route } from './route.ts';

export const imageRoutes: readonly Route[] = [
  { method: 'GET', path: '/images/json', operation: 'ImageList', handler: list },
  { method: 'POST', path: '/images/create', operation: 'ImageCreate', handler: create },
  { method: 'GET', path: '/images/{name}/json', operation: 'ImageInspect', handler: inspect },
  { method: 'GET', path: '/images/{name}/history', operation: 'ImageHistory', handler: history },
  { method: 'POST', path: '/images/{name}/tag', operation: 'ImageTag', handler: tag },
  { method: 'DELETE', path: '/images/{name}', operation: 'ImageDelete', handler: remove },
  { method: 'POST', path: '/images/prune', operation: 'ImagePrune', handler: prune },
  { method: 'GET', path: '/images/{name}/get', operation: 'ImageGet', handler: saveOne },
  { method: 'GET', path: '/images/get', operation: 'ImageGetAll', handler: save },
  { method: 'POST', path: '/images/load', operation: 'ImageLoad', handler: load },
];

function list(call: Call): void {
  const { images } = call.parts;
  const filters = parseFilters(call.query.get('filters'), IMAGE_FILTERS);
  const found = filterImages(images.list(), filters, {
    resolve: (reference) => images.resolve(reference),
    nowMs: Date.now(),
  });
  found.sort((a, b) => createdSeconds(b) - createdSeconds(a));
  call.json(
    200,
    found.map((image) => imageSummary(image, { version: call.version, containers: -1 })),
  );
}

/** `docker import`. Pulling (`fromImage`) needs a registry client, which there is not. */
async function create(call: Call): Promise<void> {
  const { query } = call;
  const fromImage = query.get('fromImage') ?? '';
  if (fromImage !== '') {
    const name = withTag(fromImage, query.get('tag') ?? '');
    throw notImplemented(
      `pulling ${name} is not there yet: Drover does not talk to registries; use docker load or docker import`,
    );
  }
  const source = query.get('fromSrc') ?? '';
  if (source === '') throw invalid('neither fromImage nor fromSrc is given');
  if (source !== '-') {
    throw notImplemented(`importing from ${source} is not there yet: send the archive itself (fromSrc=-)`);
  }
  const repository = query.get('repo') ?? '';
  const platform = query.get('platform') ?? '';
  const image = await call.parts.archives.import({
    archive: call.request,
    reference: repository === '' ? undefined : withTag(repository, query.get('tag') ?? ''),
    message: query.get('message') ?? '',
    changes: query.getAll('changes'),
    ...(platform === '' ? {} : { platform }),
    signal: call.signal,
  });
  const stream = new JsonStream(call);
  stream.write({ status: image.id });
  stream.end();
}

function withTag(name: string, tag: string): string {
  if (tag === '') return name;
  return tag.includes(':') ? `${name}@${tag}` : `${name}:${tag}`;
}

function inspect(call: Call): void {
  const image = call.parts.images.resolve(call.param('name'));
  const lowerDirs = call.parts.layers.lowerDirs(image.configuration.rootfs.diff_ids);
  call.json(200, imageInspect(image, { version: call.version, lowerDirs }));
}

function history(call: Call): void {
  call.json(200, call.parts.images.history(call.param('name')));
}

function tag(call: Call): void {
  const repository = call.query.get('repo') ?? '';
  if (repository === '') throw invalid('repo is empty: a tag needs a repository');
  call.parts.images.tag(call.param('name'), withTag(repository, call.query.get('tag') ?? ''));
  call.empty(201);
}

/** The containers of each image, whether they run or not. */
function usersOf(call: Call): (imageId: string) => { id: string; name: string; running: boolean }[] {
  const records = call.parts.containers.list({ all: true, limit: 0, filters: {} });
  return (imageId) =>
    records
      .filter((record) => record.imageId === imageId)
      .map((record) => ({ id: record.id, name: record.name, running: record.state.Running }));
}

function remove(call: Call): void {
  const removed = call.parts.images.remove(call.param('name'), {
    force: booleanOf(call.query, 'force'),
    noPrune: booleanOf(call.query, 'noprune'),
    users: usersOf(call),
  });
  call.json(200, removed);
}

function prune(call: Call): void {
  const filters = parseFilters(call.query.get('filters'), ['dangling', 'label', 'label!', 'until']);
  const until = untilFilter(filters, Date.now());
  const users = usersOf(call);
  const { deleted, bytes } = call.parts.images.prune({
    all: booleanFilter(filters, 'dangling') === false,
    inUse: (imageId) => users(imageId).length > 0,
    accept: (image: Image) =>
      (until === undefined || createdSeconds(image) * 1000 < until) &&
      matchesLabels(filters, image.configuration.config?.Labels ?? {}),
  });
  call.json(200, { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: bytes });
}

async function saveOne(call: Call): Promise<void> {
  await sendArchive(call, [call.param('name')]);
}

async function save(call: Call): Promise<void> {
  const names = call.query.getAll('names');
  if (names.length === 0) throw invalid('names is empty: no image to save');
  await sendArchive(call, names);
}

async function sendArchive(call: Call, references: string[]): Promise<void> {
  const archive = await call.parts.archives.save(references);
  await pipeline(archive, call.startStream('application/x-tar'));
}

async function load(call: Call): Promise<void> {
  const quiet = booleanOf(call.query, 'quiet');
  const stream = new JsonStream(call);
  try {
    await call.parts.archives.load({
      archive: call.request,
      report: (line) => {
        if (!quiet || line.stream !== undefined) stream.write(line);
      },
      signal: call.signal,
    });
  } catch (error) {
    stream.fail(error);
    return;
  }
  stream.end();
}
