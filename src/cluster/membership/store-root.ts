import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CertificateFiles } from '#cluster/ca/certificate-files.ts';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { syncDirectory, writePrivateFile } from '#cluster/ca/key-file.ts';
import { createAuthority } from '#cluster/ca/root-authority.ts';
import { createRoot } from '#cluster/ca/root-certificate.ts';
import { type SealingKey, seal, unseal } from '#cluster/ca/sealing.ts';
import type { Clock } from '#control/clock.ts';
import { makeMemoryDirectory } from '#linux/memory-directory.ts';
import { unmountAndRemove } from '#linux/mount.ts';
import { hasCode } from '#linux/system-call-error.ts';

/** The root of etcd's certificates: its key is sealed under the managers'. */
export interface SealedStoreRoot {
  /** PEM. */
  readonly certificate: string;
  readonly sealedKey: string;
}

export const SealedStoreRoot: z.ZodType<SealedStoreRoot> = z.object({
  certificate: z.string().max(16_384),
  sealedKey: z.string().max(16_384),
});

const PURPOSE = 'store/root-key';
const YEAR_MS = 365 * 24 * 3600 * 1000;

/**
 * The CA of the managers' store. Workers have certificates of the cluster's CA and must not get into etcd, which knows no roles: so
 * etcd trusts a root of its own, and only managers, who have the managers' key, can make certificates of it. Each makes its own, and
 * another one when the machine was restarted: etcd wants its key as it is, so it lies in memory alone.
 */
export class StoreRootFiles {
  readonly certificates: CertificateFiles;
  readonly #directory: string;
  readonly #memory: string;

  /** `directory` is DATA/cluster, `memory` a directory that becomes one in memory. */
  constructor(o: { directory: string; memory: string }) {
    this.#directory = o.directory;
    this.#memory = o.memory;
    this.certificates = new CertificateFiles(join(o.memory, 'certificates'));
  }

  /** Undefined before there are several managers. */
  read(): SealedStoreRoot | undefined {
    try {
      return SealedStoreRoot.parse(JSON.parse(readFileSync(this.#path(), 'utf8')));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  write(root: SealedStoreRoot): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    writePrivateFile(`${this.#path()}.new`, `${JSON.stringify(root)}\n`);
    renameSync(`${this.#path()}.new`, this.#path());
    syncDirectory(this.#directory);
  }

  /** The root, made where there is none yet. */
  async found(clusterId: string, key: SealingKey, clock: Clock): Promise<SealedStoreRoot> {
    const there = this.read();
    if (there !== undefined) return there;
    const root = await createRoot(clusterId, clock.nowMs());
    const made = {
      certificate: root.certificate,
      sealedKey: seal(Buffer.from(root.key), key, PURPOSE),
    };
    this.write(made);
    return made;
  }

  /** Makes this manager's certificate where it has none of the root, or one that is half over. */
  async certify(o: {
    readonly nodeId: string;
    readonly clusterId: string;
    readonly host: string;
    readonly key: SealingKey;
    readonly clock: Clock;
  }): Promise<void> {
    makeMemoryDirectory(this.#memory);
    const root = await this.found(o.clusterId, o.key, o.clock);
    if (this.#isGood(root, o.clock.nowMs())) return;
    const authority = createAuthority({
      ...{ clusterId: o.clusterId, clock: o.clock, lifeMs: 10 * YEAR_MS },
      root: {
        certificate: root.certificate,
        key: unseal(root.sealedKey, [o.key], PURPOSE).toString('utf8'),
      },
    });
    const { key, csr } = await createRequest();
    const issued = await authority.issue(csr, o.nodeId, 'manager', [o.host]);
    this.certificates.write({ key, ...issued }, undefined);
  }

  /** This node is no manager any more. */
  remove(): void {
    unmountAndRemove(this.#memory);
    rmSync(this.#path(), { force: true });
  }

  #isGood(root: SealedStoreRoot, nowMs: number): boolean {
    const there = this.certificates.read(undefined);
    if (there === undefined || there.roots.trim() !== root.certificate.trim()) return false;
    const { validFromDate, validToDate } = new X509Certificate(there.certificate);
    return nowMs < (validFromDate.getTime() + validToDate.getTime()) / 2;
  }

  #path(): string {
    return join(this.#directory, 'store-root.json');
  }
}
