import type { Http2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { CacheRecord } from '#build/build-cache.ts';
import type { BuildEvent, BuildRequest } from '#build/build-request.ts';
import type { ImageBuilder } from '#build/image-builder.ts';
import { hostPlatform } from '#engine/images/image-documents.ts';
import { cancelled, internal, invalid, notImplemented } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import { Arrivals } from './arrivals.ts';
import { type FilesOutput, filesOutput, soleOutput } from './build-output.ts';
import { BuildStatus, timestamp } from './build-status.ts';
import { type ClientSession, ClientSessions } from './client-session.ts';
import {
  DiskUsageResponse,
  type GatewayResult,
  GatewaySolveRequest,
  GatewaySolveResponse,
  InfoResponse,
  ListWorkersResponse,
  PongResponse,
  PruneRequest,
  ReturnRequest,
  SolveRequest,
  SolveResponse,
  StatusRequest,
  StatusResponse,
  type TypedAttributes,
  UsageRecord,
  UsageRequest,
  type WorkerRecord,
} from './control-messages.ts';
import { sendStream, sendTree } from './file-sender.ts';
import { type CallContext, type GrpcMethod, serveGrpc, streaming, unary } from './grpc-server.ts';
import { definitionOf } from './image-definition.ts';
import { readSessionBuild, type SessionBuild } from './session-build-request.ts';
import { Nothing } from './session-messages.ts';
import { SolveJob } from './solve-job.ts';
import { readSolve } from './solve-request.ts';
import type { SyncedTrees } from './synced-trees.ts';
import { Uploads } from './uploads.ts';

const CONTROL = 'moby.buildkit.v1.Control';
const GATEWAY = 'moby.buildkit.v1.frontend.LLBBridge';
const FRONTEND = 'dockerfile.v0';
/** Builds that are over and may still be asked about. */
const MOST_REMEMBERED = 32;

/** What of the gateway's API is there. */
const CAPABILITIES = [
  ...['solve.base', 'solve.inlinereturn', 'return', 'returnmap', 'importcaches', 'proto.refarray'],
  ...['gateway.solve.metadata', 'gateway.evaluate', 'reference.output', 'frontend.inputs', 'frontend.caps'],
];

/**
 * BuildKit's protocol, as far as `docker build`, `docker buildx` and `docker compose build` speak it with a daemon: sessions, in which
 * the client serves its files and secrets, and the control API, by which it asks for builds. Dockerfiles alone are built: a client's
 * own LLB is refused.
 */
export class Buildkit implements Disposable {
  readonly sessions: ClientSessions = new ClientSessions();
  readonly uploads: Uploads = new Uploads();
  readonly #trees: SyncedTrees;
  readonly #builder: ImageBuilder;
  readonly #version: string;
  readonly #jobs = new Arrivals<SolveJob>('build');
  readonly #connections = new Set<Http2Session>();
  readonly #methods: ReadonlyMap<string, GrpcMethod>;

  constructor(o: { builder: ImageBuilder; trees: SyncedTrees; version: string }) {
    this.#builder = o.builder;
    this.#trees = o.trees;
    this.#version = o.version;
    this.#methods = new Map([
      [
        `${CONTROL}/Solve`,
        unary({ request: SolveRequest, answer: SolveResponse }, (...call) => this.#solve(...call)),
      ],
      [
        `${CONTROL}/Status`,
        streaming({ request: StatusRequest, answer: StatusResponse }, (...call) => this.#follow(...call)),
      ],
      [
        `${CONTROL}/ListWorkers`,
        unary({ request: Nothing, answer: ListWorkersResponse }, async () => ({ record: [this.#worker()] })),
      ],
      [
        `${CONTROL}/Info`,
        unary({ request: Nothing, answer: InfoResponse }, async () => ({ version: this.#worker().version })),
      ],
      [
        `${CONTROL}/DiskUsage`,
        unary({ request: UsageRequest, answer: DiskUsageResponse }, async ({ filter }) =>
          this.#usage(filter),
        ),
      ],
      [
        `${CONTROL}/Prune`,
        streaming({ request: PruneRequest, answer: UsageRecord }, (call) => this.#prune(call)),
      ],
      [
        `${GATEWAY}/Ping`,
        unary({ request: Nothing, answer: PongResponse }, (_, context) => this.#ping(context)),
      ],
      [
        `${GATEWAY}/Solve`,
        unary({ request: GatewaySolveRequest, answer: GatewaySolveResponse }, (...call) =>
          this.#solveForGateway(...call),
        ),
      ],
      [`${GATEWAY}/Evaluate`, unary({ request: Nothing, answer: Nothing }, async () => ({}))],
      [
        `${GATEWAY}/Return`,
        unary({ request: ReturnRequest, answer: Nothing }, (...call) => this.#return(...call)),
      ],
    ]);
  }

  /** Forgets the clients' files that are kept for their next builds. */
  forgetFiles(): void {
    this.#trees.clear();
  }

  /** Serves the control API on a connection that was taken over. */
  serve(socket: Duplex): void {
    const session = serveGrpc(socket, this.#methods);
    this.#connections.add(session);
    session.once('close', () => this.#connections.delete(session));
  }

  /** The build of a client with BuildKit in it: `classic` is what its call says, the rest is in its session. */
  sessionRequest(
    session: ClientSession,
    classic: BuildRequest,
    o: SessionBuild,
    signal: AbortSignal,
  ): Promise<BuildRequest> {
    const parts = { trees: this.#trees, uploads: this.uploads };
    return readSessionBuild(session, parts, classic, o, signal);
  }

  /** Makes messages of a build's events as they happen. */
  statusOf(ref: string): (event: BuildEvent) => Buffer {
    const status = new BuildStatus(ref);
    return (event) => StatusResponse.encode(status.of(event, Date.now()));
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection.destroy();
    this.sessions[Symbol.dispose]();
  }

  async #solve(
    request: SolveRequest,
    context: CallContext,
  ): Promise<{ exporterResponse: Record<string, string> }> {
    refuseDefinition(request);
    if (request.frontend !== '' && request.frontend !== FRONTEND) throw unknownFrontend(request.frontend);
    const session = await this.sessions.get(request.session, context.signal);
    const job = new SolveJob(request, session);
    this.#jobs.add(request.ref, job);
    try {
      const image =
        request.frontend === FRONTEND
          ? await this.#build(job, { frontendOpt: request.frontendAttrs }, context.signal)
          : await returnedImage(job, context.signal);
      const response = image === undefined ? {} : await this.#export(job, image, context.signal);
      return { exporterResponse: response };
    } finally {
      job.end();
      if (this.#jobs.size > MOST_REMEMBERED) this.#jobs.deleteOldest(({ isOver }) => isOver);
    }
  }

  async #build(job: SolveJob, asked: Partial<GatewaySolveRequest>, signal: AbortSignal): Promise<Image> {
    const { frontendOpt = {}, cacheImports = [], frontendInputs = {} } = asked;
    const { cache, entitlements } = job.request;
    const output = outputOf(job.request);
    const request = await readSolve(
      job.session,
      this.#trees,
      {
        attributes: frontendOpt,
        inputs: frontendInputs,
        tags: (output.attrs['name'] ?? '').split(',').filter((each) => each !== ''),
        annotations: annotationsOf(output.attrs),
        cacheImports: cacheImports.length > 0 ? cacheImports : (cache?.imports ?? []),
        cacheExports: cache?.exports ?? [],
        entitlements,
      },
      signal,
    );
    const report = (event: BuildEvent): void => job.report(event);
    const { image } = await this.#builder.build(request, { report, signal });
    return image;
  }

  /** Puts the result where the client wants it; says what it is. */
  async #export(job: SolveJob, image: Image, signal: AbortSignal): Promise<Record<string, string>> {
    const { type, attrs } = outputOf(job.request);
    const files = filesOutput(type);
    if (files !== undefined) {
      await this.sendFiles(job.session, image, files, signal);
      return {};
    }
    const names = attrs['name'] ?? '';
    return {
      'containerimage.digest': image.manifestDigest,
      'containerimage.config.digest': image.id,
      ...(names === '' ? {} : { 'image.name': names }),
    };
  }

  /** The files of an image to where the client wants them. */
  async sendFiles(
    session: ClientSession,
    image: Image,
    type: NonNullable<FilesOutput>,
    signal: AbortSignal,
  ): Promise<void> {
    if (type === 'tar') {
      await using files = await this.#builder.exportFiles(image);
      await sendStream(session.client, files.stream(), signal);
      return;
    }
    using files = this.#builder.openFiles(image);
    await sendTree(session.client, files.root, signal);
  }

  async *#follow({ ref }: { ref: string }, { signal }: CallContext): AsyncGenerator<Partial<StatusResponse>> {
    const job = await this.#jobs.get(ref, signal);
    yield* job.follow();
  }

  #jobOf(context: CallContext): Promise<SolveJob> {
    return this.#jobs.get(context.header('buildkit-controlapi-buildid') ?? '', context.signal);
  }

  async #ping(context: CallContext): Promise<Partial<PongResponse>> {
    await this.#jobOf(context);
    const caps = CAPABILITIES.map((id) => ({ id, enabled: true }));
    return { frontendCaps: caps, llbCaps: caps, workers: [this.#worker()] };
  }

  async #solveForGateway(
    request: GatewaySolveRequest,
    context: CallContext,
  ): Promise<{ result: Partial<GatewayResult> }> {
    refuseDefinition(request);
    if (request.frontend !== FRONTEND) throw unknownFrontend(request.frontend);
    const job = await this.#jobOf(context);
    const image = await this.#build(job, request, context.signal);
    const config = Buffer.from(JSON.stringify(image.configuration));
    return {
      result: {
        ref: { id: job.addResult(image), def: definitionOf(image.id) },
        metadata: { 'containerimage.config': config },
      },
    };
  }

  async #return({ result, error }: ReturnRequest, context: CallContext): Promise<Record<never, never>> {
    const job = await this.#jobOf(context);
    if (error?.message !== undefined) job.returned.reject(invalid(error.message));
    else job.returned.resolve(result?.ref?.id ?? '');
    return {};
  }

  #worker(): Partial<WorkerRecord> {
    const { os, architecture, variant } = hostPlatform();
    return {
      id: 'drover',
      labels: {},
      platforms: [{ os, architecture, ...(variant ? { variant } : {}) }],
      version: { package: 'drover', version: this.#version },
    };
  }

  #usage(filters: readonly string[]): { record: Partial<UsageRecord>[] } {
    refuseFilters(filters);
    return { record: this.#builder.cache.list().map((each) => this.#usageOf(each)) };
  }

  #usageOf(record: CacheRecord): Partial<UsageRecord> {
    return {
      id: record.key,
      size: this.#builder.cache.size(record),
      createdAt: timestamp(Date.parse(record.createdAt)),
      lastUsedAt: timestamp(Date.parse(record.usedAt)),
      usageCount: record.uses,
      description: record.description,
      recordType: 'regular',
    };
  }

  async *#prune({
    filter,
    all,
    keepDuration,
    keepBytes,
  }: PruneRequest): AsyncGenerator<Partial<UsageRecord>> {
    refuseFilters(filter);
    const before = new Map(this.#usage([]).record.map((each) => [each.id, each]));
    const { keys } = await this.#builder.prune({
      all,
      ...(keepDuration > 0 ? { usedBeforeMs: Date.now() - keepDuration / 1e6 } : {}),
      ...(keepBytes > 0 ? { keepBytes } : {}),
    });
    if (all) this.forgetFiles();
    for (const id of keys) yield before.get(id) ?? { id };
  }
}

function refuseFilters(filters: readonly string[]): void {
  const filter = filters.find((each) => each !== '');
  if (filter !== undefined)
    throw notImplemented(`the filter ${filter} is not supported`, {
      hint: 'Use docker builder prune --filter.',
    });
}

function refuseDefinition({ definition }: { definition: Uint8Array }): void {
  if (definition.length > 0)
    throw notImplemented("LLB of a client's own is not supported: Drover builds Dockerfiles");
}

function unknownFrontend(name: string): Error {
  return notImplemented(`the frontend ${name} is not supported: Drover builds Dockerfiles by itself`, {
    hint: 'Remove the line that names another syntax, or BUILDKIT_SYNTAX.',
  });
}

/** Undefined where the client built nothing: it only asked what can be done. */
async function returnedImage(job: SolveJob, signal: AbortSignal): Promise<Image | undefined> {
  const gone = Promise.withResolvers<never>();
  const leave = (): void => gone.reject(cancelled('the build was cancelled'));
  signal.addEventListener('abort', leave, { once: true });
  try {
    const id = await Promise.race([job.returned.promise, gone.promise]);
    if (id === '') return undefined;
    const image = job.result(id);
    if (image === undefined) throw internal(`the client returned ${id}, which it did not build`);
    return image;
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

/** Refused before anything is built where it is not there. */
function outputOf({ exporter, exporterAttrs, exporters }: SolveRequest): TypedAttributes {
  const { type = '', attrs = {} } = soleOutput(exporters) ?? { type: exporter, attrs: exporterAttrs };
  filesOutput(type);
  // what asks for `moby` pushes by itself
  if (type === 'image' && attrs['push'] === 'true')
    throw notImplemented('a build does not push by itself here', { hint: 'Push afterwards: docker push' });
  return { type, attrs };
}

const ANNOTATION = /^annotation(?:-manifest)?\./;

function annotationsOf(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attributes)
      .filter(([name]) => ANNOTATION.test(name))
      .map(([name, value]) => [name.replace(ANNOTATION, ''), value]),
  );
}
