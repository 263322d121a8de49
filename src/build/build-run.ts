import { posix } from 'node:path';
import type { Lease } from '#engine/blobs/blob-store.ts';
import {
  formatPlatform,
  hostPlatform,
  type Platform,
  parsePlatform,
} from '#engine/images/image-documents.ts';
import { DEFAULT_PATH } from '#engine/images/image-settings.ts';
import { parseReference, referenceKey } from '#engine/images/reference.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { DroverError, invalid, kindOf } from '#model/errors.ts';
import type { Image, ImageLineage } from '#model/image.ts';
import type { BaseImages } from './base-images.ts';
import { type BuildCache, cacheKey } from './build-cache.ts';
import {
  type BuildContext,
  ignorePatterns,
  type OpenedContext,
  openContext,
  readDockerfile,
} from './build-contexts.ts';
import type { BuildDirectory } from './build-filesystems.ts';
import type { BuildProgress } from './build-progress.ts';
import type { BuildRequest, ContextSource } from './build-request.ts';
import { type BuildStage, findStage, planStages, problemsOf, type StagePlan } from './build-stages.ts';
import type { CacheMounts } from './cache-mounts.ts';
import type { CacheTransfer } from './cache-transfer.ts';
import { type Instruction, type ParsedDockerfile, parseDockerfile } from './dockerfile-parser.ts';
import { StageBuilder } from './stage-builder.ts';
import { contextFiles, type SourceFiles, type StageParts } from './stage-parts.ts';
import { filesKey, type StageState } from './stage-state.ts';
import type { StepContainers } from './step-container.ts';

/** What a build works with. */
export interface RunParts {
  request: BuildRequest;
  directory: BuildDirectory;
  lease: Lease;
  signal: AbortSignal;
  fail: (error: unknown) => void;
  progress: BuildProgress;
  layers: LayerStore;
  cache: BuildCache;
  cacheMounts: CacheMounts;
  containers: StepContainers;
  bases: BaseImages;
  transfer: CacheTransfer;
}

/** One build on its way. */
export class BuildRun {
  readonly #o: RunParts;
  readonly #stages = new Map<number, Promise<StageState>>();
  readonly #contexts = new Map<string, Promise<BuildContext>>();
  #mainContext: Promise<OpenedContext> | undefined;

  constructor(o: RunParts) {
    this.#o = o;
  }

  async run(): Promise<{
    state: StageState;
    epochNs: bigint | undefined;
    dockerfile: string;
    bases: { reference: string; digest: string }[];
  }> {
    const { request, progress } = this.#o;
    const loading = progress.begin('load build definition from Dockerfile');
    const { file, plan, platform } = await this.#load();
    loading.done();
    for (const { message, place } of file.warnings) progress.warn(`${file.file}:${place.line}: ${message}`);
    const epochNs = epochOf(request);
    const parts: Omit<StageParts, 'platformArgs' | 'context' | 'source'> = {
      file,
      request,
      layers: this.#o.layers,
      cache: this.#o.cache,
      cacheMounts: this.#o.cacheMounts,
      containers: this.#o.containers,
      directory: this.#o.directory,
      lease: this.#o.lease,
      progress,
      signal: this.#o.signal,
      globalArgs: plan.globalArgs,
      epochNs,
      importStep: (key) => this.#o.transfer.find(key),
      noteStep: (key) => this.#o.transfer.use(key),
    };
    for (const index of plan.wanted) {
      const stage = plan.stages[index];
      if (stage === undefined) continue;
      const building = this.#buildStage(stage, plan, parts, platform);
      this.#stages.set(index, building);
      // The first that fails ends the others; which one that was is said below.
      building.catch((error: unknown) => this.#o.fail(error));
    }
    const results = await Promise.allSettled(this.#stages.values());
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    const [failure] = failures.toSorted((a, b) => Number(isCancelled(a)) - Number(isCancelled(b)));
    if (failure !== undefined) throw failure;
    const state = await this.#stages.get(plan.target.index);
    if (state === undefined) throw new Error('the target was not built');
    return { state, epochNs, dockerfile: file.lines.join('\n'), bases: this.#o.bases.used() };
  }

  async #load(): Promise<{ file: ParsedDockerfile; plan: StagePlan; platform: Platform }> {
    const { request } = this.#o;
    const { path, text } = request.dockerfile;
    const source = text ?? (await this.#dockerfile(path));
    const file = parseDockerfile(source, posix.basename(path));
    const platform = request.platform === undefined ? hostPlatform() : parsePlatform(request.platform);
    const plan = planStages(file, {
      buildArgs: request.buildArgs,
      target: request.target,
      platformArgs: platformArgs(platform, request.target),
      contexts: Object.keys(request.contexts),
    });
    return { file, plan, platform };
  }

  async #dockerfile(path: string): Promise<string> {
    const [text = ''] = await this.#remembered(await this.#openMain(), `Dockerfile ${path}`, (root) => [
      readDockerfile(root, path),
    ]);
    return text;
  }

  /** What is read of a context, or was read of it the last time that it came. */
  async #remembered(
    context: OpenedContext,
    what: string,
    read: (root: string) => readonly string[],
  ): Promise<readonly string[]> {
    if (context.contentKey === undefined) return read(await context.root());
    const key = cacheKey('context', context.contentKey, what);
    const known = await this.#o.cache.fact(key, async () => JSON.stringify(read(await context.root())));
    return JSON.parse(known) as string[];
  }

  #openMain(): Promise<OpenedContext> {
    this.#mainContext ??= this.#open(this.#o.request.context);
    return this.#mainContext;
  }

  #open(source: ContextSource): Promise<OpenedContext> {
    const { directory, layers, signal, progress } = this.#o;
    return openContext(source, { directory, workers: layers.workers, signal, progress });
  }

  #context(name: string, source: ContextSource | undefined): Promise<BuildContext> {
    const known = this.#contexts.get(name);
    if (known !== undefined) return known;
    const opening = (async (): Promise<BuildContext> => {
      const opened = source === undefined ? await this.#openMain() : await this.#open(source);
      const dockerfile = source === undefined ? this.#o.request.dockerfile.path : '';
      const read = (root: string): string[] => ignorePatterns(root, dockerfile);
      const ignore =
        opened.ignore ?? (await this.#remembered(opened, `.dockerignore beside ${dockerfile}`, read));
      return { ...opened, ignore };
    })();
    this.#contexts.set(name, opening);
    return opening;
  }

  async #buildStage(
    stage: BuildStage,
    plan: StagePlan,
    shared: Omit<StageParts, 'platformArgs' | 'context' | 'source'>,
    target: Platform,
  ): Promise<StageState> {
    const platform = stage.platform === undefined ? target : parsePlatform(stage.platform);
    const base = await this.#base(stage, shared.file, platform);
    const builder = new StageBuilder(
      {
        ...shared,
        platformArgs: platformArgs(target, this.#o.request.target),
        context: () => this.#context('', undefined),
        source: (name, instruction) => this.#source(name, instruction, stage, plan, shared.file, target),
      },
      stage,
    );
    return await builder.build(base);
  }

  async #base(stage: BuildStage, file: ParsedDockerfile, platform: Platform): Promise<StageState> {
    const named = this.#namedContext(stage.base);
    if (named === undefined && stage.baseStage !== undefined) {
      const base = await this.#stages.get(stage.baseStage);
      if (base === undefined) throw new Error(`stage ${stage.baseStage} is not being built`);
      // What the base declared for itself ends with it.
      return { ...base, args: new Map() };
    }
    const empty: StageState = {
      diffIds: [],
      config: { Env: [DEFAULT_PATH] },
      history: [],
      args: new Map(),
      platform,
      author: undefined,
      lineage: undefined,
    };
    if (named === undefined && stage.base === 'scratch') return empty;
    if (named !== undefined && named.kind !== 'image')
      throw problemsOf(file)(
        stage.from,
        `context ${stage.base} holds files and cannot be the base of a stage`,
      );
    const reference = named === undefined ? stage.base : named.reference;
    const { image, digest } = await this.#baseImage(reference, stage.from, file, platform, stage);
    const { configuration } = image;
    const parsed = parseReference(reference);
    const lineage: ImageLineage = {
      baseName: parsed.digest === undefined ? referenceKey(parsed) : parsed.name,
      baseDigest: digest,
      baseImageId: image.id,
      baseLayers: configuration.rootfs.diff_ids.length,
    };
    return {
      ...empty,
      diffIds: configuration.rootfs.diff_ids,
      config: configuration.config ?? {},
      history: configuration.history ?? [],
      platform: {
        os: configuration.os,
        architecture: configuration.architecture,
        ...(configuration.variant === undefined ? {} : { variant: configuration.variant }),
      },
      author: configuration.author,
      lineage,
    };
  }

  async #baseImage(
    reference: string,
    instruction: Instruction,
    file: ParsedDockerfile,
    platform: Platform,
    stage: BuildStage,
  ): Promise<{ image: Image; digest: string }> {
    const { bases, progress, lease } = this.#o;
    const step = progress.begin(
      `FROM ${reference}`,
      `${stage.name ?? `stage-${stage.index}`} 1/${stage.instructions.length + 1}`,
    );
    try {
      const found = await bases.resolve(reference, platform, step);
      lease.keep(found.image.id);
      lease.keep(found.image.manifestDigest);
      for (const diffId of found.image.configuration.rootfs.diff_ids) lease.keep(diffId);
      if (found.wasHere) step.cached();
      else step.done(found.image.size);
      return found;
    } catch (error) {
      step.failed(error instanceof Error ? error.message : '');
      if (error instanceof DroverError && ['invalid', 'not-found'].includes(error.kind))
        throw problemsOf(file)(instruction, `${reference}: ${error.message}`, error);
      throw error;
    }
  }

  #namedContext(name: string): ContextSource | undefined {
    const { contexts } = this.#o.request;
    const direct = contexts[name] ?? contexts[name.toLowerCase()];
    if (direct !== undefined) return direct;
    const normal = normalName(name);
    return Object.entries(contexts).find(
      ([each]) => normal !== undefined && normalName(each) === normal,
    )?.[1];
  }

  /** Files that COPY --from or a mount names. */
  async #source(
    name: string,
    instruction: Instruction,
    stage: BuildStage,
    plan: StagePlan,
    file: ParsedDockerfile,
    platform: Platform,
  ): Promise<SourceFiles> {
    const named = this.#namedContext(name);
    if (named !== undefined && named.kind !== 'image') {
      return contextFiles(await this.#context(name, named));
    }
    const found = named === undefined ? findStage(plan.stages, name) : undefined;
    if (found !== undefined) {
      const state = await this.#stages.get(found.index);
      if (state !== undefined) return this.#layerFiles(state.diffIds, filesKey(state));
    }
    const reference = named === undefined ? name : named.reference;
    const { image } = await this.#baseImage(reference, instruction, file, platform, stage);
    const diffIds = image.configuration.rootfs.diff_ids;
    return this.#layerFiles(diffIds, cacheKey('files', ...diffIds));
  }

  #layerFiles(diffIds: readonly string[], contentKey: string): SourceFiles {
    return {
      root: () => Promise.resolve(this.#o.directory.view(diffIds)),
      ignore: [],
      contentKey,
      keepsOwners: true,
      isStable: false,
    };
  }
}

function normalName(name: string): string | undefined {
  try {
    const { name: full, tag = 'latest', digest } = parseReference(name);
    return `${full}:${tag}@${digest ?? ''}`;
  } catch (error) {
    if (kindOf(error) === 'invalid') return undefined;
    throw error;
  }
}

function isCancelled(error: unknown): boolean {
  return kindOf(error) === 'cancelled' || (error instanceof Error && error.name === 'AbortError');
}

function epochOf(request: BuildRequest): bigint | undefined {
  const text = request.buildArgs['SOURCE_DATE_EPOCH'];
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,12}$/.test(text)) throw invalid(`SOURCE_DATE_EPOCH=${text} is no number of seconds`);
  return BigInt(text) * 1_000_000_000n;
}

/** The arguments that are there without being given; a stage has those that it declares. */
function platformArgs(target: Platform, targetStage: string | undefined): Record<string, string> {
  const host = hostPlatform();
  const of = (prefix: string, platform: Platform): Record<string, string> => ({
    [`${prefix}PLATFORM`]: formatPlatform(platform),
    [`${prefix}OS`]: platform.os,
    [`${prefix}ARCH`]: platform.architecture,
    [`${prefix}VARIANT`]: platform.variant ?? '',
  });
  return { ...of('BUILD', host), ...of('TARGET', target), TARGETSTAGE: targetStage ?? 'default' };
}
