import { Readable } from 'node:stream';
import { z } from 'zod';
import type { BuildRequest, CacheReference, ContextSource } from '#build/build-request.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import type { ClientSession } from './client-session.ts';
import type { TypedAttributes } from './control-messages.ts';
import type { GrpcStream } from './grpc-client.ts';
import { imageOf } from './image-definition.ts';
import { SessionFiles } from './session-files.ts';
import { BytesMessage } from './session-messages.ts';
import { sessionSources } from './session-sources.ts';
import type { SyncedTrees } from './synced-trees.ts';

/** What a client of BuildKit's asks for, as far as it is not in its session. */
export interface SolveOptions {
  /** Of the Dockerfile's frontend. */
  attributes: Readonly<Record<string, string>>;
  /** Results of other builds by their names, as LLB. */
  inputs: Readonly<Record<string, Uint8Array>>;
  tags: readonly string[];
  annotations: Readonly<Record<string, string>>;
  cacheImports: readonly Partial<TypedAttributes>[];
  cacheExports: readonly Partial<TypedAttributes>[];
  entitlements: readonly string[];
}

/** Attributes that say nothing about what is built: who asked, and how, and what the client can take. */
const IDLE = new Set([
  'source',
  'cmdline',
  'frontend.caps',
  'multi-platform',
  'build-arg:BUILDKIT_MULTI_PLATFORM',
]);
const INLINE_CACHE = 'build-arg:BUILDKIT_INLINE_CACHE';
const PULL = 'moby.upload.v1.Upload/Pull';

const CacheImports = z.array(
  z.object({ Type: z.string(), Attrs: z.record(z.string(), z.string()).nullish() }),
);

/** The build that a client asks for; its Dockerfile is fetched now, its context when a step needs it. */
export async function readSolve(
  session: ClientSession,
  trees: SyncedTrees,
  o: SolveOptions,
  signal: AbortSignal,
): Promise<BuildRequest> {
  const given = new Attributes(o.attributes);
  const files = new SessionFiles(session, trees);
  const path = given.take('filename') ?? 'Dockerfile';
  const remote = given.take('context');
  const contextKey = given.take('contextkey') ?? 'context';
  const dockerfileKey = given.take('dockerfilekey');
  const isRemote = remote !== undefined;
  const isOwn = !isRemote || dockerfileKey !== undefined;
  const dockerfile = isOwn ? await files.dockerfile(dockerfileKey ?? 'dockerfile', path, signal) : undefined;
  const noCache = given.take('no-cache');
  const platform = given.take('platform');
  if (platform?.includes(',') === true)
    throw notImplemented(`an image for several platforms cannot be built at once: ${platform}`, {
      hint: 'Build one for each of them.',
    });
  const target = given.take('target');
  const pull = given.take('image-resolve-mode') ?? 'default';
  const request: BuildRequest = {
    ...sessionSources(session, signal),
    context: isRemote
      ? remoteContext(session, remote, signal)
      : files.context(contextKey, dockerfile?.ignore),
    dockerfile: { path, ...(dockerfile === undefined ? {} : { text: dockerfile.text }) },
    tags: o.tags,
    ...(target === undefined ? {} : { target }),
    ...(platform === undefined ? {} : { platform }),
    annotations: o.annotations,
    noCache: noCache === '',
    noCacheStages: noCache === undefined || noCache === '' ? [] : noCache.split(','),
    pull: pull === 'pull',
    network: networkOf(given.take('force-network-mode')),
    contexts: Object.fromEntries(
      Object.entries(given.takeBelow('context:')).map(([name, text]) => [
        name,
        namedContext(name, text, { files, inputs: o.inputs }),
      ]),
    ),
    cacheFrom: [
      ...o.cacheImports.map(cacheReference),
      ...listedImports(given.take('cache-imports')),
      ...split(given.take('cache-from')).map(
        (ref): CacheReference => ({ type: 'registry', attributes: { ref } }),
      ),
    ],
    cacheTo: [
      ...o.cacheExports.map(cacheReference),
      ...(given.take(INLINE_CACHE) === '1' ? [{ type: 'inline' as const, attributes: {} }] : []),
    ],
    extraHosts: split(given.take('add-hosts')).map((each) => each.replace('=', ':')),
    entitlements: o.entitlements,
    limits: limitsOf(given),
    provenance: isAttested(given.take('attest:provenance')),
    sbom: isAttested(given.take('attest:sbom')),
    buildArgs: given.takeBelow('build-arg:'),
    labels: given.takeBelow('label:'),
  };
  for (const idle of ['vcs:', 'input-metadata:']) given.takeBelow(idle);
  given.refuseOthers();
  return request;
}

/** An address, or an archive that the client got on its standard input and has in its session. */
function remoteContext(session: ClientSession, url: string, signal: AbortSignal): ContextSource {
  const [, id] = /^http:\/\/buildkit-session\/(.+)$/.exec(url) ?? [];
  if (id === undefined) return { kind: 'remote', url };
  const stream = session.client.stream(PULL, { metadata: { urlpath: `/${id}` }, signal });
  return { kind: 'archive', stream: Readable.from(piecesOf(stream), { objectMode: false }) };
}

async function* piecesOf(stream: GrpcStream): AsyncGenerator<Uint8Array> {
  using _ = stream;
  for await (const { data } of stream.receive(BytesMessage)) yield data;
}

/** Attributes that are taken one by one: what is left over is not supported. */
class Attributes {
  readonly #left: Map<string, string>;

  constructor(attributes: Readonly<Record<string, string>>) {
    this.#left = new Map(Object.entries(attributes).filter(([name]) => !IDLE.has(name)));
  }

  take(name: string): string | undefined {
    const value = this.#left.get(name);
    this.#left.delete(name);
    return value;
  }

  takeBelow(prefix: string): Record<string, string> {
    const found = [...this.#left].filter(([name]) => name.startsWith(prefix));
    for (const [name] of found) this.#left.delete(name);
    return Object.fromEntries(found.map(([name, value]) => [name.slice(prefix.length), value]));
  }

  refuseOthers(): void {
    const [other] = this.#left;
    if (other === undefined) return;
    const [name, value] = other;
    if (name === 'requestid')
      throw notImplemented(`${value} is not there: builds are checked and listed by building them`);
    throw notImplemented(`the build's option ${name}=${value} is not supported`);
  }
}

function split(text: string | undefined): string[] {
  return (text ?? '').split(',').filter((each) => each !== '');
}

/** BuildKit's `sandbox` is what others call the default. */
function networkOf(mode: string | undefined): string {
  return mode === undefined || mode === '' || mode === 'sandbox' ? 'default' : mode;
}

function namedContext(
  name: string,
  text: string,
  { files, inputs }: { files: SessionFiles; inputs: SolveOptions['inputs'] },
): ContextSource {
  const [kind = '', rest = ''] = text.split(/:(.*)/s);
  if (kind === 'docker-image') return { kind: 'image', reference: rest.replace(/^\/\//, '') };
  const input = kind === 'input' ? inputs[rest] : undefined;
  if (input !== undefined) return { kind: 'image', reference: imageOf(input) };
  if (kind === 'local') return files.context(rest);
  if (kind === 'http' || kind === 'https' || kind === 'git' || kind === 'ssh')
    return { kind: 'remote', url: text };
  throw notImplemented(`the build context ${name}=${text} is not supported`, {
    hint: 'Give a directory, docker-image:// or a git or http(s) address.',
  });
}

function cacheReference({ type = '', attrs = {} }: Partial<TypedAttributes>): CacheReference {
  if (type === 'inline') return { type, attributes: attrs };
  if (type === 'registry') return { type, attributes: attrs };
  throw notImplemented(`caches of type ${type} are not supported`, {
    hint: 'Use type=registry or type=inline; drover build has type=local as well.',
  });
}

function listedImports(text: string | undefined): CacheReference[] {
  if (text === undefined || text === '') return [];
  const parsed = CacheImports.safeParse(parseJson(text));
  if (!parsed.success) throw invalid(`cache-imports is not as it should be: ${text}`);
  return parsed.data.map(({ Type, Attrs }) => cacheReference({ type: Type, attrs: Attrs ?? {} }));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(`cache-imports is not JSON: ${text}`, { cause });
  }
}

/** What a client adds by itself, where it finds room for it, is not asked for. */
function isAttested(options: string | undefined): boolean {
  if (options === undefined) return false;
  return !options.includes('disabled=true') && !options.includes('inline-only=true');
}

function limitsOf(given: Attributes): BuildRequest['limits'] {
  const shmSize = given.take('shm-size');
  const cgroupParent = given.take('cgroup-parent');
  const ulimits = split(given.take('ulimit')).map((each) => {
    const [, Name = '', soft, hard] = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(each) ?? [];
    if (soft === undefined) throw invalid(`ulimit ${each} is not NAME=SOFT[:HARD]`);
    return { Name, Soft: Number(soft), Hard: Number(hard ?? soft) };
  });
  return {
    ...(shmSize === undefined ? {} : { shmSize: Number(shmSize) }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
    ...(ulimits.length === 0 ? {} : { ulimits }),
  };
}
