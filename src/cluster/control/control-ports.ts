import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Store } from '#cluster/store/store.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import type { SwarmRecord } from '#model/swarm.ts';

/** A view that is kept equal to the store by somebody else. */
export interface FollowedView {
  readonly view: ClusterView;
  /** Resolves when the view has this revision; rejects with `cancelled` when `signal` aborts. */
  untilRevision(revision: number, signal: AbortSignal): Promise<void>;
}

/** Encrypts what must not lie in the store as it is. */
export interface Sealer {
  /** Text that only managers of this cluster can open, and only for the same purpose. */
  seal(data: Buffer, purpose: string): string;
  /** `invalid` for what was not sealed here, or for something else. */
  unseal(text: string, purpose: string): Buffer;
}

/** What the content of a secret is sealed for. */
export function secretPurpose(secretId: string): string {
  return `secret/${secretId}`;
}

/** What the credentials are sealed for that the nodes of a service pull its image with. */
export function registryAuthPurpose(serviceId: string): string {
  return `registry-auth/${serviceId}`;
}

/** What a key of encrypted networks is sealed for. */
export function networkKeyPurpose(keyId: string): string {
  return `network-key/${keyId}`;
}

export interface JoinTokens {
  /** A new token. It carries the digest of the CA's certificate (PEM), so that a node knows whom it joins. */
  create(rootCertificate: string): string;
  /** The same token for another CA. */
  rebind(token: string, rootCertificate: string): string;
}

/** What a cluster's record says of its CA. */
export type RootFields = Pick<
  SwarmRecord,
  'rootCertificate' | 'sealedRootKey' | 'previousRootCertificate' | 'crossSignedRootCertificate'
>;

export interface RootRotation {
  /**
   * Makes the next CA of a cluster, or takes the given one (PEM); one without a key is an external CA's. `invalid` for one that cannot be
   * used.
   */
  rotate(swarm: SwarmRecord, given?: { certificate: string; key: string | undefined }): Promise<RootFields>;
  /** Has each of the external CAs that are to sign with a root sign once. Throws why where one cannot. */
  tryExternal(swarm: SwarmRecord, rootCertificate: string, urls: readonly string[]): Promise<void>;
}

/** What {@link ClusterControl} needs of the rest of a manager. */
export interface ControlPorts {
  readonly follower: FollowedView;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly sealer: Sealer;
  readonly joinTokens: JoinTokens;
  /** This node. */
  readonly nodeId: string;
  /** The node whose manager leads, as far as this one knows. */
  readonly leader: () => string | undefined;
  /** The name of a network of this host, by its name or ID. */
  readonly localNetwork: (reference: string) => string | undefined;
  /** Pins an image to the digest that its registry has now; asked for by clients of API versions before 1.30. */
  readonly resolveImage?: (image: string, registryAuth: string | undefined) => Promise<string>;
  /** A new key that locked managers are unlocked with, sealed for the cluster's record. */
  readonly makeUnlockKey: () => string;
  /** Without it the CA cannot be replaced. */
  readonly rootRotation?: RootRotation;
  /** Aborted when this node is no manager any more. */
  readonly signal: AbortSignal;
}

/** Resolves when the view is what `isSo` asks for: false when it was not within so many milliseconds. Rejects when the manager ends. */
export async function untilView(
  { follower, clock, signal }: Pick<ControlPorts, 'follower' | 'clock' | 'signal'>,
  limitMs: number,
  isSo: () => boolean,
): Promise<boolean> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  let isLate = false;
  const late = clock.sleep(limitMs, either).then(() => {
    isLate = true;
  });
  // nobody waits for it any more when it is cut off
  late.catch(() => undefined);
  try {
    while (!isSo()) {
      if (isLate) return false;
      await Promise.race([follower.untilRevision(follower.view.revision + 1, either), late]);
    }
    return true;
  } finally {
    over.abort();
  }
}
