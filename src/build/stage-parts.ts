import { readdirSync } from 'node:fs';
import type { Lease } from '#engine/blobs/blob-store.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { TreeSelection } from '#engine/layers/tree-selection.ts';
import { treeState } from '#engine/layers/tree-state.ts';
import { type BuildCache, type CacheRecord, cacheKey } from './build-cache.ts';
import type { BuildContext } from './build-contexts.ts';
import type { BuildDirectory } from './build-filesystems.ts';
import type { BuildProgress, StepProgress } from './build-progress.ts';
import type { BuildRequest } from './build-request.ts';
import type { CacheMounts } from './cache-mounts.ts';
import type { Instruction, ParsedDockerfile } from './dockerfile-parser.ts';
import type { StageState } from './stage-state.ts';
import type { StepContainers } from './step-container.ts';
import type { Variables } from './variable-expansion.ts';

/** How long the event loop may be kept from other work to look at files. */
const SYNCHRONOUS_MS = 20;

/** What the stages of one build share. */
export interface StageParts {
  file: ParsedDockerfile;
  request: BuildRequest;
  layers: LayerStore;
  cache: BuildCache;
  cacheMounts: CacheMounts;
  containers: StepContainers;
  directory: BuildDirectory;
  lease: Lease;
  progress: BuildProgress;
  signal: AbortSignal;
  /** TARGETPLATFORM and the like. */
  platformArgs: Readonly<Record<string, string>>;
  globalArgs: ReadonlyMap<string, string | undefined>;
  /** SOURCE_DATE_EPOCH in nanoseconds; layers hold no later time. */
  epochNs: bigint | undefined;
  /** The build's own context. */
  context: () => Promise<BuildContext>;
  /** Files of a stage, an image or a named context. */
  source: (name: string, instruction: Instruction) => Promise<SourceFiles>;
  /** Looks for a step's result in caches of elsewhere. */
  importStep: (key: string) => Promise<CacheRecord | undefined>;
  /** Notes a step for the caches that are exported. */
  noteStep: (key: string) => void;
}

/** Files that a step takes from somewhere. */
export interface SourceFiles {
  /** Where they are; made ready when it is asked for. */
  root: () => Promise<string>;
  ignore: readonly string[];
  /** What they are, where that is known without reading them. */
  contentKey: string | undefined;
  /** Owners are those of the files; the context's files belong to root. */
  keepsOwners: boolean;
  isStable: boolean;
}

/** What the selected files are; of files that never change, or have not changed, it is remembered. */
export async function digestOfFiles(
  { layers, cache, cacheMounts }: Pick<StageParts, 'layers' | 'cache' | 'cacheMounts'>,
  selection: TreeSelection,
  files: SourceFiles,
): Promise<string> {
  const run = async (root: string): Promise<string> => {
    const { digest } = await layers.workers.run('digestTree', {
      selection: { ...selection, root },
      owners: files.keepsOwners,
      ...(files.isStable ? { known: cacheMounts.knownDigests } : {}),
    });
    return digest;
  };
  if (files.contentKey !== undefined) {
    const key = cacheKey('digest', files.contentKey, selection);
    return await cache.fact(key, async () => await run(await files.root()));
  }
  const root = await files.root();
  const stateOf = (): string | undefined => treeState({ ...selection, root }, SYNCHRONOUS_MS);
  // A thread that has to be started first takes longer than to see that a few files are the same.
  const state = files.isStable ? stateOf() : undefined;
  if (state === undefined) return await run(root);
  const key = cacheKey('digest', state, files.keepsOwners);
  const known = cache.knownFact(key);
  if (known !== undefined) return known;
  const digest = await run(root);
  // What changed meanwhile may not be what was read.
  if (stateOf() === state) cache.remember(key, digest);
  return digest;
}

/** The files of a directory that was given to the build. */
export function contextFiles(context: BuildContext): SourceFiles {
  return { ...context, keepsOwners: false };
}

/** What a step wrote, for a layer; undefined where that is nothing. */
export function writtenIn(upper: string): { directory: string | undefined } & AsyncDisposable {
  return {
    directory: readdirSync(upper).length === 0 ? undefined : upper,
    // It lies in the build's directory, which goes as a whole.
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** `NAME=value`. */
export function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=');
  return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
}

/** ENV counts before ARG. */
export function variablesOf(state: StageState): Variables {
  const env = new Map((state.config.Env ?? []).map((pair) => splitPair(pair)));
  return (name) => env.get(name) ?? state.args.get(name);
}

/** A step that makes a layer: named, keyed by all that it depends on, and done only where its key is new. */
export interface LayerStep {
  name: string;
  createdBy: string;
  key: string;
  /** Gives the directory that becomes the layer; undefined where nothing changed. */
  make: (step: StepProgress) => Promise<{ directory: string | undefined } & AsyncDisposable>;
}

/** Takes a step's layer from a cache, or makes it. */
export type MakeLayer = (state: StageState, step: LayerStep) => Promise<StageState>;
