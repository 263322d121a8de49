import type { ContainerConfig } from './container.ts';

export interface ImageHistoryEntry {
  created?: string;
  created_by?: string;
  author?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** The OCI image configuration (image-spec config.md), as far as the engine reads it. */
export interface ImageConfiguration {
  created?: string;
  author?: string;
  architecture: string;
  os: string;
  variant?: string;
  config?: Partial<ContainerConfig> & { OnBuild?: string[] | null; ArgsEscaped?: boolean };
  rootfs: { type: 'layers'; diff_ids: string[] };
  history?: ImageHistoryEntry[];
  comment?: string;
}

/** An image in the store. */
export interface Image {
  /** Digest of the configuration, `sha256:…`: Docker's image ID. */
  id: string;
  manifestDigest: string;
  configuration: ImageConfiguration;
  /** Chain IDs of its layers, lowest first; the last one names the whole root file system. */
  chainIds: string[];
  /** Bytes of all layers, unpacked. */
  size: number;
  repoTags: string[];
  repoDigests: string[];
  /** What it was built on; absent for images that were not built here. */
  lineage?: ImageLineage;
  /** What was said about it when it was built. */
  attestations?: Attestation[];
}

/** A predicate about an image, kept as a blob. */
export interface Attestation {
  predicateType: string;
  digest: string;
}

/** Where a built image comes from. */
export interface ImageLineage {
  /** As the Dockerfile names it. */
  baseName: string;
  /** Digest of the base's manifest, or of the index it was chosen from. */
  baseDigest: string;
  baseImageId: string;
  /** How many of the lowest layers are the base's. */
  baseLayers: number;
  /** How to build it again; absent where that takes more than files of this machine. */
  recipe?: BuildRecipe;
}

/** What a build was asked for, as far as it can be asked for again: nothing secret, nothing that was sent. */
export interface BuildRecipe {
  /** Directory of the context, on this machine. */
  context: string;
  /** Below the context. */
  dockerfile: string;
  target?: string;
  platform?: string;
  network: string;
  buildArgs: Readonly<Record<string, string>>;
  labels: Readonly<Record<string, string>>;
}

/** One line of Docker's progress stream. */
export interface ProgressLine {
  status?: string;
  id?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number };
  stream?: string;
  aux?: unknown;
}
