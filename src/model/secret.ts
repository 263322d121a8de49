import type { Annotations, ClusterObject } from './cluster-object.ts';

interface SpecOfContent extends Annotations {
  Name: string;
  Templating?: { Name?: string; Options?: Record<string, string> };
}

export interface SecretSpec extends SpecOfContent {
  Driver?: { Name?: string; Options?: Record<string, string> };
}

/** A secret; its content is immutable and never leaves the managers but to nodes whose tasks use it. */
export interface SecretRecord extends ClusterObject {
  Spec: SecretSpec;
  /** Sealed with the cluster's key; base64. At most 500 KiB of content. */
  sealed: string;
}

/** Content for tasks that is not secret; immutable, at most 1,000 KiB. */
export interface ConfigRecord extends ClusterObject {
  Spec: SpecOfContent & { /** base64 */ Data: string };
}
