import type { ClusterObject } from './cluster-object.ts';
import type { StackSpec } from './stack.ts';

/** `superseded`: a later release came before it was deployed. */
export type ReleaseState = 'deploying' | 'deployed' | 'failed' | 'superseded';

export interface ReleaseStatus {
  State: ReleaseState;
  /** Why it failed; empty otherwise. */
  Message: string;
  /** RFC 3339. */
  since: string;
}

/**
 * A stack as it was deployed once: what was asked for never changes, and a rollback is the deployment of an older one as a new number.
 * `ID` is `<stack>.<number>`.
 */
export interface ReleaseRecord extends ClusterObject {
  stack: string;
  /** From 1; the highest of a stack is what is asked of the cluster. */
  number: number;
  /** The release whose specification it deploys again. */
  rollbackOf?: number;
  spec: StackSpec;
  status: ReleaseStatus;
  /** By the keys of services: the revision that this deployment brought the service to. */
  applied: Record<string, number>;
  /** By the keys of services: the IDs that they have, or are made with. */
  serviceIds: Record<string, string>;
  /** By the keys of services: what nodes pull the image with, sealed for the service's ID. */
  sealedRegistryAuth?: Record<string, string>;
  /** What digests of secrets are keyed with, so that their names tell nothing of them: the same for all releases of a stack. */
  salt: string;
}
