import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Clock } from '#control/clock.ts';
import { invalid } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import { requestedKey } from './certificate-request.ts';
import { SIGNATURE, signingKeys } from './ecdsa-key.ts';
import type { CertificateAuthority, IssuedCertificate } from './join-handler.ts';
import { isId, unitOf } from './node-identity.ts';
import { authorityKeyIdentifier, BACKDATED_MS, type Root } from './root-certificate.ts';
import { loadX509 } from './x509-library.ts';

/** Docker's default of `NodeCertExpiry`, in milliseconds. */
export const DEFAULT_LIFE_MS: number = 90 * 24 * 3600 * 1000;
/** As in Swarm: below it, nodes would do little but renew. */
export const SHORTEST_LIFE_MS: number = 3600 * 1000;
const HOST_NAME = /^(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*$/;
const LONGEST_HOST = 253;
const MOST_HOSTS = 16;

export interface AuthorityOptions {
  readonly clusterId: string;
  readonly root: Root;
  /** While the root is being replaced: the old one, and the new one signed by it. */
  readonly previous?: { readonly certificate: string; readonly crossSigned: string };
  /** How long node certificates live; at least an hour. */
  readonly lifeMs: number;
  readonly clock: Clock;
}

/**
 * A CA that signs with a root's key. Certificates are for TLS servers and clients, never CAs; they do not outlive the root. Throws
 * `invalid` for a life below an hour.
 */
export function createAuthority(options: AuthorityOptions): CertificateAuthority {
  if (options.lifeMs < SHORTEST_LIFE_MS) throw invalid('minimum certificate expiry time is 1 hour');
  const { root, previous } = options;
  const roots = root.certificate + (previous?.certificate ?? '');
  return {
    issue: async (csr, nodeId, role, hosts = []): Promise<IssuedCertificate> => {
      if (!isId(nodeId)) throw invalid(`invalid node ID: ${nodeId}`);
      const certificate = await sign(options, await requestedKey(csr), nodeId, role, hosts);
      return { certificate: certificate + (previous?.crossSigned ?? ''), roots };
    },
  };
}

async function sign(
  { clusterId, root, lifeMs, clock }: AuthorityOptions,
  publicKey: ArrayBuffer,
  nodeId: string,
  role: NodeRole,
  hosts: readonly string[],
): Promise<string> {
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(root.certificate);
  const nowMs = clock.nowMs();
  if (issuer.notAfter.getTime() <= nowMs) throw invalid("the cluster's CA certificate has expired");
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: positiveSerial(),
    subject: [{ O: [clusterId] }, { OU: [unitOf(role)] }, { CN: [nodeId] }],
    issuer: issuer.subjectName,
    publicKey,
    signingKey: signingKeys(root.key).privateKey,
    signingAlgorithm: SIGNATURE,
    notBefore: new Date(Math.max(nowMs - BACKDATED_MS, issuer.notBefore.getTime())),
    notAfter: new Date(Math.min(nowMs + lifeMs, issuer.notAfter.getTime())),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(
        namesOf(nodeId, role, hosts).map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
      ...authorityKeyIdentifier(x509, issuer),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** What a node's certificate is valid for. The role is a name too, as in Swarm: others can admit managers alone by it. */
export function namesOf(nodeId: string, role: NodeRole, hosts: readonly string[]): string[] {
  const names = [nodeId, unitOf(role), 'localhost', '127.0.0.1', '::1', ...checkedHosts(hosts)];
  return [...new Set(names)];
}

/** 127 random bits, the first bit clear: a serial number is a positive number of at most 20 bytes. */
function positiveSerial(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0);
  return bytes.toString('hex');
}

function checkedHosts(hosts: readonly string[]): readonly string[] {
  if (hosts.length > MOST_HOSTS) throw invalid(`a certificate names at most ${MOST_HOSTS} hosts`);
  for (const host of hosts) {
    if (!isHost(host)) throw invalid(`invalid host for a certificate: ${JSON.stringify(host)}`);
  }
  return hosts;
}

/** A name or an address, and no name that says what only the CA may say: a node's ID, a role. */
function isHost(host: string): boolean {
  if (isIP(host) !== 0) return !host.includes('%');
  const name = host.toLowerCase();
  return host.length <= LONGEST_HOST && HOST_NAME.test(host) && !name.startsWith('swarm-') && !isId(name);
}
