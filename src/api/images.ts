import { pipeline } from 'node:stream/promises';
import { describeImage } from '#cluster/images/image-descriptor.ts';
import { parseReference } from '#engine/images/reference.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import { matchesLabels } from '#model/filters.ts';
import type { Image } from '#model/image.ts';
import { parseRegistryAuth, RegistryCredentials } from '#registry/credentials.ts';
import { checkLogin, searchRegistry } from '#registry/registry-account.ts';
import type { Call } from './call.ts';
import { commitSchema } from './container-request.ts';
import { booleanFilter, parseFilters, untilFilter } from './filters.ts';
import { filterImages, IMAGE_FILTERS } from './image-filters.ts';
import { createdSeconds, imageInspect, imageSummary } from './image-view.ts';
import { JsonStream } from './json-stream.ts';
import { booleanOf } from './query.ts';
import { readBody } from './request-body.ts';
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
  { method: 'GET', path: '/images/{name}/rootfs', operation: 'ImageRootfs', handler: rootfs },
  { method: 'GET', path: '/images/get', operation: 'ImageGetAll', handler: save },
  { method: 'POST', path: '/images/{name}/push', operation: 'ImagePush', handler: push },
  { method: 'GET', path: '/images/search', operation: 'ImageSearch', handler: search },
  {
    method: 'GET',
    path: '/distribution/{name}/json',
    operation: 'DistributionInspect',
    handler: distribution,
  },
  { method: 'POST', path: '/auth', operation: 'SystemAuth', handler: auth },
  { method: 'POST', path: '/commit', operation: 'ImageCommit', handler: commit },
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

async function commit(call: Call): Promise<void> {
  const { query } = call;
  const container = query.get('container') ?? '';
  if (container === '') throw invalid('container can not be empty');
  const repository = query.get('repo') ?? '';
  const image = await call.parts.containers.commit(container, {
    config: await readBody(call, commitSchema),
    reference: repository === '' ? '' : withTag(repository, query.get('tag') ?? ''),
    author: query.get('author') ?? '',
    comment: query.get('comment') ?? '',
    changes: query.getAll('changes'),
    pause: booleanOf(query, 'pause', true),
  });
  call.json(201, { Id: image.id });
}

/** `docker pull` and `docker import`. */
async function create(call: Call): Promise<void> {
  const { query } = call;
  const fromImage = query.get('fromImage') ?? '';
  if (fromImage !== '') {
    await pull(call, fromImage);
    return;
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

/** Without a tag or a digest all tags are pulled. */
async function pull(call: Call, fromImage: string): Promise<void> {
  const reference = parseReference(pulledName(fromImage, call.query.get('tag') ?? ''));
  const { puller } = call.parts;
  const stream = new JsonStream(call);
  const request = {
    platform: call.query.get('platform') ?? undefined,
    credentials: registryAuth(call),
    report: (line: object) => stream.write(line),
    signal: call.signal,
  };
  try {
    const isWhole = reference.tag === undefined && reference.digest === undefined;
    const tags = isWhole ? await puller.tags({ ...request, reference }) : [reference.tag];
    for (const tag of tags)
      await puller.pull({ ...request, reference: tag === undefined ? reference : { ...reference, tag } });
  } catch (error) {
    stream.fail(error);
    return;
  }
  stream.end();
}

/** `tag`, which may be a digest, counts instead of the name's own. */
function pulledName(name: string, tag: string): string {
  if (tag === '' || name.includes('@')) return name;
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  return withTag(colon < 0 ? name : name.slice(0, colon), tag);
}

function registryAuth(call: Call): RegistryCredentials {
  return parseRegistryAuth(headerOf(call, 'x-registry-auth'));
}

async function push(call: Call): Promise<void> {
  const tag = call.query.get('tag') ?? '';
  const reference = parseReference(withTag(call.param('name'), tag));
  if (reference.digest !== undefined) throw invalid('cannot push a digest reference');
  if ((call.query.get('platform') ?? '') !== '')
    throw notImplemented('pushing one platform of several is not there: an image here is for one platform');
  const stream = new JsonStream(call);
  try {
    await call.parts.pusher.push({
      reference,
      allTags: reference.tag === undefined,
      credentials: registryAuth(call),
      report: (line) => stream.write(line),
      signal: call.signal,
    });
  } catch (error) {
    stream.fail(error);
    return;
  }
  stream.end();
}

const MOST_SEARCH_RESULTS = 100;
const SEARCH_RESULTS = 25;

async function search(call: Call): Promise<void> {
  const term = call.query.get('term') ?? '';
  if (term === '') throw invalid('term is empty: nothing to search for');
  const limit = Number(call.query.get('limit') || SEARCH_RESULTS);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_SEARCH_RESULTS)
    throw invalid(`Limit ${limit} is outside the range of [1, ${MOST_SEARCH_RESULTS}]`);
  const filters = parseFilters(call.query.get('filters'), ['is-official', 'is-automated', 'stars']);
  const stars = Number(filters['stars']?.[0] ?? 0);
  if (Number.isNaN(stars)) throw invalid(`invalid filter 'stars=${filters['stars']?.[0] ?? ''}'`);
  const official = booleanFilter(filters, 'is-official');
  const automated = booleanFilter(filters, 'is-automated');
  const found = await searchRegistry(call.parts.registries, {
    term,
    limit,
    credentials: registryAuth(call),
    signal: call.signal,
  });
  call.json(
    200,
    found.filter(
      (each) =>
        each.star_count >= stars &&
        (official === undefined || each.is_official === official) &&
        (automated === undefined || each.is_automated === automated),
    ),
  );
}

async function distribution(call: Call): Promise<void> {
  const reference = parseReference(call.param('name'));
  const request = { reference, credentials: registryAuth(call), signal: call.signal };
  const { puller, images, cluster } = call.parts;
  // clients pin a service's image by this answer
  const sources = { puller, ...(cluster.state === 'active' ? { images } : {}) };
  const { platforms, ...descriptor } = await describeImage(sources, request);
  call.json(200, { Descriptor: descriptor, Platforms: platforms });
}

async function auth(call: Call): Promise<void> {
  const credentials = await readBody(call, RegistryCredentials);
  await checkLogin(call.parts.registries, credentials, call.signal);
  call.json(200, { Status: 'Login Succeeded', IdentityToken: '' });
}

function headerOf(call: Call, name: string): string | undefined {
  const value = call.request.headers[name];
  return Array.isArray(value) ? value[0] : value;
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

/** The files of an image as a plain archive: `drover build -o type=local`. */
async function rootfs(call: Call): Promise<void> {
  const image = call.parts.images.resolve(call.param('name'));
  await using files = await call.parts.builder.exportFiles(image);
  await pipeline(files.stream(), call.startStream('application/x-tar'));
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
