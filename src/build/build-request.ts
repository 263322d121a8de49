import type { Readable } from 'node:stream';
import type { Ulimit } from '#model/container.ts';

/** Where files for a build come from. */
export type ContextSource =
  | { kind: 'directory'; path: string }
  | { kind: 'archive'; stream: Readable }
  /** git, or an archive at an http(s) address. */
  | { kind: 'remote'; url: string }
  | { kind: 'image'; reference: string }
  | { kind: 'empty' };

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
  secrets: ReadonlyMap<string, Buffer>;
  /** Sockets of ssh agents on this machine. */
  ssh: ReadonlyMap<string, string>;
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
  /** For registries that bases are pulled from, by host. */
  credentials: Readonly<Record<string, RegistryLogin>>;
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
