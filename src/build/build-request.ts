import type { Duplex, Readable } from 'node:stream';
import type { Ulimit } from '#model/container.ts';
import type { BuildProgress } from './build-progress.ts';

/** Where files for a build come from. */
export type ContextSource =
  | { kind: 'directory'; path: string }
  | { kind: 'archive'; stream: Readable }
  /** git, or an archive at an http(s) address. */
  | { kind: 'remote'; url: string }
  | { kind: 'image'; reference: string }
  /** A directory of a client's: `sync` brings what is wanted of it here, and gives where it is until the build ends. */
  | { kind: 'synced'; sync: SyncDirectory }
  | { kind: 'empty' };

/** Gives a directory of files; `onEnd` is told what to do when nobody reads them any more. */
export type SyncDirectory = (o: {
  onEnd: (release: () => void) => void;
  progress: BuildProgress;
  signal: AbortSignal;
}) => Promise<{ root: string; isStable: boolean; ignore: readonly string[] }>;

/** Things by their IDs; a client may be asked for them when a step wants them. */
export interface ById<T> {
  /** Zero where there are none for sure. */
  readonly size: number;
  /** Those that are there, or those that were found so far where others are asked for. */
  keys(): Iterable<string>;
  get(id: string): T | undefined | Promise<T | undefined>;
}

/** Opens a connection to an ssh agent. */
export type DialAgent = () => Duplex;

export interface CacheReference {
  type: 'registry' | 'local' | 'inline';
  attributes: Readonly<Record<string, string>>;
}

/** Who somebody is at a registry, as Docker's configuration file has it. */
export interface RegistryLogin {
  username?: string | null | undefined;
  password?: string | null | undefined;
  identitytoken?: string | null | undefined;
  registrytoken?: string | null | undefined;
  auth?: string | null | undefined;
}

/** What a build is asked to do. */
export interface BuildRequest {
  context: ContextSource;
  /** Below the context; `text` instead where the client sends it apart. */
  dockerfile: { path: string; text?: string };
  tags: readonly string[];
  target?: string;
  buildArgs: Readonly<Record<string, string>>;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  platform?: string;
  /** Steps are done again; only those of the stages named, where any are. */
  noCache: boolean;
  noCacheStages: readonly string[];
  pull: boolean;
  network: string;
  contexts: Readonly<Record<string, ContextSource>>;
  secrets: ById<Buffer>;
  ssh: ById<DialAgent>;
  cacheFrom: readonly CacheReference[];
  cacheTo: readonly CacheReference[];
  extraHosts: readonly string[];
  /** Steps may ask for more than the default rights: `security.insecure`, `network.host`. */
  entitlements: readonly string[];
  limits: {
    memory?: number;
    memorySwap?: number;
    cpuShares?: number;
    cpuPeriod?: number;
    cpuQuota?: number;
    cpusetCpus?: string;
    cpusetMems?: string;
    shmSize?: number;
    ulimits?: Ulimit[];
    cgroupParent?: string;
  };
  /** For a registry that bases are pulled from, or caches pushed to, by its host; empty where there are none. */
  credentials: (host: string) => Promise<RegistryLogin>;
  provenance: boolean;
  sbom: boolean;
}

/** A step of a build as its followers see it; steps have a number and keep it. */
export type BuildEvent =
  | { kind: 'begin'; step: number; name: string; stage?: string | undefined }
  | { kind: 'cached'; step: number }
  | { kind: 'output'; step: number; stream: 'stdout' | 'stderr'; data: Buffer }
  | { kind: 'progress'; step: number; id: string; current: number; total: number }
  | { kind: 'done'; step: number; seconds: number; bytes?: number | undefined }
  | { kind: 'failed'; step: number; message: string }
  | { kind: 'warning'; message: string };
