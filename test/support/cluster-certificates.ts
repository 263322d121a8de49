import { type CheckedCredentials, checkCredentials } from '#cluster/ca/certificate-files.ts';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { createAuthority } from '#cluster/ca/root-authority.ts';
import { createRoot, type Root } from '#cluster/ca/root-certificate.ts';
import type { NodeRole } from '#model/node.ts';

const HOUR_MS = 3600 * 1000;

/** An ID that reads as what it is for: `worker1` is `worker100000…`. */
export function idFor(name: string): string {
  return name.padEnd(25, '0');
}

/** A CA for tests, and certificates of it. */
export class TestAuthority {
  readonly clusterId: string;
  readonly root: Root;

  private constructor(clusterId: string, root: Root) {
    this.clusterId = clusterId;
    this.root = root;
  }

  static async create(clusterId: string = idFor('cluster')): Promise<TestAuthority> {
    return new TestAuthority(clusterId, await createRoot(clusterId, Date.now() - 24 * HOUR_MS));
  }

  /** Credentials of a node; `ageMs` ago issued, for an hour; `clusterId` is what its certificate says. */
  async credentials(
    name: string,
    role: NodeRole,
    { ageMs = 0, clusterId = this.clusterId }: { ageMs?: number; clusterId?: string } = {},
  ): Promise<CheckedCredentials> {
    const atMs = Date.now() - ageMs;
    const clock = { nowMs: () => atMs, monotonicMs: () => atMs, sleep: () => Promise.resolve() };
    const authority = createAuthority({ clusterId, root: this.root, lifeMs: HOUR_MS, clock });
    const { key, csr } = await createRequest();
    const issued = await authority.issue(csr, idFor(name), role);
    return checkCredentials({ key, ...issued }, atMs);
  }
}
