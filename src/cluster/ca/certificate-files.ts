import { createPrivateKey, type X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '#linux/system-call-error.ts';
import { forbidden, invalid } from '#model/errors.ts';
import { syncDirectory, writePrivateFile } from './key-file.ts';
import { identityOf, type NodeIdentity } from './node-identity.ts';
import { isIssuedBy, parseCertificates } from './pem.ts';
import { type SealingKey, seal, unseal } from './sealing.ts';

/** What a node proves itself with, and whom it trusts. All PEM. */
export interface NodeCredentials {
  readonly key: string;
  /** Its own certificate first, then the ones that lead to a root. */
  readonly certificate: string;
  readonly roots: string;
}

/** Credentials that fit together, and who they say the node is. */
export interface CheckedCredentials extends NodeCredentials {
  readonly identity: NodeIdentity;
  readonly leaf: X509Certificate;
}

const FILES = { key: 'node.key', certificate: 'node.crt', roots: 'roots.crt' };
const CURRENT = 'current';
const KEY_PURPOSE = 'node/key';

/**
 * A node's key, certificate and roots below one directory: `current/{node.key,node.crt,roots.crt}`, where `current` is a link to the
 * set in force. A set is replaced by the link alone, so that no crash and no reader (etcd reads them at every handshake) sees half of one.
 * A manager's key is sealed with the managers': who has the disk of a locked manager cannot speak for it.
 */
export class CertificateFiles {
  readonly #directory: string;

  /** `directory` is DATA/cluster/certificates; it is made when something is written. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Where a file is to be found, now and after each replacement. */
  path(file: keyof NodeCredentials): string {
    return join(this.#directory, CURRENT, FILES[file]);
  }

  /** Whether {@link read} needs the managers' key; false where nothing is there. */
  get isSealed(): boolean {
    const set = this.#currentSet();
    return set !== undefined && isSealed(this.#text(set, 'key'));
  }

  /**
   * What is there; undefined when the node is in no cluster. Throws `invalid` where a file is missing, `forbidden` where the key is sealed
   * with another one than `sealing`; nothing else is checked.
   */
  read(sealing: SealingKey | undefined): NodeCredentials | undefined {
    const set = this.#currentSet();
    if (set === undefined) return undefined;
    const key = this.#text(set, 'key');
    const keys = sealing === undefined ? [] : [sealing];
    return {
      key: isSealed(key) ? unseal(key, keys, KEY_PURPOSE).toString('utf8') : key,
      certificate: this.#text(set, 'certificate'),
      roots: this.#text(set, 'roots'),
    };
  }

  /** Replaces the set, the key under `sealing` or as it is. On disk when this returns. */
  write(credentials: NodeCredentials, sealing: SealingKey | undefined): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const before = this.#currentSet();
    const set = String(Number(before ?? 0) + 1);
    const home = join(this.#directory, set);
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home, { mode: 0o700 });
    const { key } = credentials;
    const kept = sealing === undefined ? key : `${seal(Buffer.from(key), sealing, KEY_PURPOSE)}\n`;
    writePrivateFile(join(home, FILES.key), kept);
    writePrivateFile(join(home, FILES.certificate), credentials.certificate);
    writePrivateFile(join(home, FILES.roots), credentials.roots);
    syncDirectory(home);
    const link = join(this.#directory, `${CURRENT}.new`);
    rmSync(link, { force: true });
    symlinkSync(set, link);
    renameSync(link, join(this.#directory, CURRENT));
    syncDirectory(this.#directory);
    this.#removeSetsBut(set);
  }

  /** Removes everything: the node is in no cluster any more. */
  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #currentSet(): string | undefined {
    try {
      const set = readlinkSync(join(this.#directory, CURRENT));
      if (!/^[1-9][0-9]{0,9}$/.test(set))
        throw invalid(`${join(this.#directory, CURRENT)}: not a link of ours`);
      return set;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  #text(set: string, file: keyof NodeCredentials): string {
    const path = join(this.#directory, set, FILES[file]);
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw hasCode(cause, 'ENOENT') ? invalid(`${path} is missing`, { cause, hint: REJOIN }) : cause;
    }
  }

  #removeSetsBut(set: string): void {
    for (const name of readdirSync(this.#directory))
      if (name !== set && name !== CURRENT)
        rmSync(join(this.#directory, name), { recursive: true, force: true });
  }
}

function isSealed(key: string): boolean {
  return !key.startsWith('-----BEGIN ');
}

const REJOIN = 'leave the swarm with `docker swarm leave --force` and join it again';

/**
 * Whether credentials can be used at `nowMs`: the key is the certificate's, a root issued it, it is in time. Throws `invalid` for texts
 * that cannot be read and a key of another certificate, `forbidden` for a certificate that is expired or of another cluster's CA.
 */
export function checkCredentials(credentials: NodeCredentials, nowMs: number): CheckedCredentials {
  const [leaf, ...chain] = parseCertificates(credentials.certificate, 'node certificate');
  const roots = parseCertificates(credentials.roots, 'root certificates');
  const identity = identityOf(leaf);
  if (!leaf.checkPrivateKey(privateKeyOf(credentials.key)))
    throw invalid('the node key does not belong to the node certificate', { hint: REJOIN });
  const isTrusted = (certificate: X509Certificate): boolean =>
    roots.some((root) => isIssuedBy(certificate, root)) ||
    chain.some((next) => isIssuedBy(certificate, next) && roots.some((root) => isIssuedBy(next, root)));
  if (!isTrusted(leaf))
    throw forbidden('the node certificate is foreign: no root certificate here issued it', { hint: REJOIN });
  if (leaf.validFromDate.getTime() > nowMs)
    throw forbidden(`the node certificate is not valid before ${leaf.validFrom}`, {
      hint: "check the machine's clock",
    });
  if (leaf.validToDate.getTime() <= nowMs)
    throw forbidden(`the node certificate expired at ${leaf.validTo}`, { hint: REJOIN });
  return { ...credentials, identity, leaf };
}

function privateKeyOf(pem: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw invalid('the node key is not readable PEM', { cause, hint: REJOIN });
  }
}
