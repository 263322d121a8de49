import { z } from 'zod';
import type { BuildEvent, BuildRequest } from '#build/build-request.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import { credentialsFor, parseRegistryConfig } from '#registry/credentials.ts';
import { readBuildRequest } from './build-body.ts';
import { BuildLines } from './build-lines.ts';
import type { Call } from './call.ts';
import { parseFilters } from './filters.ts';
import { JsonStream } from './json-stream.ts';
import { booleanOf } from './query.ts';
import { textMap } from './request-body.ts';
import type { Route } from './route.ts';
import { buildOfSession } from './session-build.ts';

export const buildRoutes: readonly Route[] = [
  { method: 'POST', path: '/build', operation: 'ImageBuild', handler: build },
  { method: 'POST', path: '/build/prune', operation: 'BuildPrune', handler: prune },
];

async function build(call: Call): Promise<void> {
  const isOwn = call.request.headers['content-type']?.startsWith('application/json') === true;
  const header = call.request.headers['x-registry-config'];
  const table = parseRegistryConfig(Array.isArray(header) ? header[0] : header);
  const credentials: BuildRequest['credentials'] = (host) => Promise.resolve(credentialsFor(host, table));
  if (!isOwn && call.query.get('version') === '2') {
    await buildOfSession(call, () => classicRequest(call, credentials));
    return;
  }
  const request = isOwn ? await readBuildRequest(call, credentials) : classicRequest(call, credentials);
  const stream = new JsonStream(call);
  const quiet = booleanOf(call.query, 'q');
  const lines = new BuildLines((text) => stream.write({ stream: text }));
  const report = (event: BuildEvent): void => {
    if (quiet) return;
    if (isOwn) stream.write({ event: wireEvent(event) });
    else lines.add(event);
  };
  try {
    const { image, tags } = await call.parts.builder.build(request, { report, signal: call.signal });
    if (isOwn) stream.write({ result: { id: image.id, tags, manifestDigest: image.manifestDigest } });
    else {
      stream.write({ aux: { ID: image.id } });
      if (quiet) stream.write({ stream: `${image.id}\n` });
      else {
        stream.write({ stream: `Successfully built ${image.id.slice(7, 19)}\n` });
        for (const tag of tags) stream.write({ stream: `Successfully tagged ${tag}\n` });
      }
    }
  } catch (error) {
    stream.fail(error);
    return;
  }
  stream.end();
}

function wireEvent(event: BuildEvent): object {
  return event.kind === 'output' ? { ...event, data: event.data.toString('base64') } : event;
}

/** Docker's own call: an archive as the body, or an address. */
function classicRequest(call: Call, credentials: BuildRequest['credentials']): BuildRequest {
  const { query } = call;
  refuseUnsupported(query);
  const remote = query.get('remote') ?? '';
  const number = (name: string): number | undefined => {
    const value = Number(query.get(name) || 0);
    if (!Number.isInteger(value)) throw invalid(`${name}=${query.get(name)} is no number`);
    return value === 0 ? undefined : value;
  };
  const text = (name: string): string | undefined => query.get(name) || undefined;
  const json = <T>(name: string, schema: z.ZodType<T>, none: T): T => {
    const value = query.get(name);
    if (value === null || value === '' || value === 'null') return none;
    const parsed = schema.safeParse(parseJson(name, value));
    if (!parsed.success) throw invalid(`${name} is not as it should be: ${value}`);
    return parsed.data;
  };
  const buildArgs = json('buildargs', z.record(z.string(), z.string().nullable()), {});
  const target = text('target');
  const platform = text('platform');
  const given = {
    memory: number('memory'),
    memorySwap: number('memswap'),
    cpuShares: number('cpushares'),
    cpuPeriod: number('cpuperiod'),
    cpuQuota: number('cpuquota'),
    cpusetCpus: text('cpusetcpus'),
    cpusetMems: text('cpusetmems'),
    shmSize: number('shmsize'),
    ulimits: json('ulimits', Ulimits, undefined),
    cgroupParent: text('cgroupparent'),
  };
  return {
    context: remote === '' ? { kind: 'archive', stream: call.request } : { kind: 'remote', url: remote },
    contexts: {},
    dockerfile: { path: text('dockerfile') ?? 'Dockerfile' },
    tags: query.getAll('t').filter((tag) => tag !== ''),
    ...(target === undefined ? {} : { target }),
    ...(platform === undefined ? {} : { platform }),
    buildArgs: Object.fromEntries(
      Object.entries(buildArgs).flatMap(([name, value]) => (value === null ? [] : [[name, value]])),
    ),
    labels: json('labels', textMap, {}),
    annotations: {},
    noCache: booleanOf(query, 'nocache'),
    noCacheStages: [],
    pull: booleanOf(query, 'pull') || query.get('pull') === 'always',
    network: text('networkmode') ?? 'default',
    secrets: new Map(),
    ssh: new Map(),
    cacheFrom: json('cachefrom', z.array(z.string()), []).map((reference) => ({
      type: 'registry',
      attributes: { ref: reference },
    })),
    cacheTo: [],
    extraHosts: query
      .getAll('extrahosts')
      .flatMap((each) => each.split(','))
      .filter(Boolean),
    entitlements: [],
    limits: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    provenance: false,
    sbom: false,
    credentials,
  };
}

const Ulimits = z.array(z.object({ Name: z.string(), Soft: z.number(), Hard: z.number() })).optional();

function parseJson(name: string, value: string): unknown {
  try {
    return JSON.parse(value);
  } catch (cause) {
    throw invalid(`${name} is not JSON: ${value}`, { cause });
  }
}

function refuseUnsupported(query: URLSearchParams): void {
  if (booleanOf(query, 'squash'))
    throw notImplemented('--squash is not there: copy what is wanted into a stage of its own instead');
  const isOfSession = query.get('version') === '2';
  for (const name of ['securityopt', ...(isOfSession ? [] : ['outputs']), 'isolation']) {
    const value = query.get(name) ?? '';
    if (value !== '' && value !== '[]' && value !== 'null' && value !== 'default')
      throw notImplemented(`${name} is not supported by the classic build: ${value}`);
  }
}

const HOUR_MS = 3_600_000;

async function prune(call: Call): Promise<void> {
  const { builder } = call.parts;
  const filters = parseFilters(call.query.get('filters'), [
    'until',
    'unused-for',
    'id',
    'type',
    'inuse',
    'shared',
    'private',
    'description',
    'parent',
  ]);
  const age = filters['unused-for']?.[0] ?? filters['until']?.[0];
  const keep = Number(call.query.get('reserved-space') ?? call.query.get('keep-storage') ?? 0);
  const { keys, bytes } = await builder.prune({
    all: booleanOf(call.query, 'all'),
    ...(age === undefined ? {} : { usedBeforeMs: Date.now() - ageMs(age) }),
    ...(keep > 0 ? { keepBytes: keep } : {}),
    accept: (record) => {
      const ids = filters['id'];
      const text = filters['description'];
      return (
        (ids === undefined || ids.includes(record.key)) &&
        (text === undefined || text.some((each) => record.description.includes(each)))
      );
    },
  });
  if (booleanOf(call.query, 'all')) (await call.parts.buildkit()).forgetFiles();
  call.json(200, { CachesDeleted: keys.length === 0 ? null : keys, SpaceReclaimed: bytes });
}

/** `24h`, `30m`, or a number of seconds since the epoch. */
function ageMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|m|s|ms)/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join('') === text) {
    const units: Record<string, number> = { h: HOUR_MS, m: 60_000, s: 1000, ms: 1 };
    return parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ''] ?? 0), 0);
  }
  if (/^\d+$/.test(text)) return Date.now() - Number(text) * 1000;
  throw invalid(`${text} is no duration such as 24h`);
}
