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
}
