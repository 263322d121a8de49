import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { addressClass } from './address-class.ts';

/** What the daemon was told about registries. */
export interface RegistrySettings {
  /** URLs that stand in for docker.io when pulling, tried first. */
  mirrors: readonly string[];
  /** Hosts, `host:port` or CIDRs that may be talked to without verified TLS. */
  insecure: readonly string[];
  /** Where `<host[:port]>/*.crt`, `*.cert` and `*.key` are looked for. */
  certificateDirectories: readonly string[];
}

export const CERTIFICATE_DIRECTORIES: readonly string[] = ['/etc/drover/certs.d', '/etc/docker/certs.d'];

/** Where a registry answers. */
export interface RegistryEndpoint {
  /** With scheme, without a path. */
  url: string;
  /** What the user calls it: `docker.io`, `registry.example.org:5000`. */
  host: string;
  isMirror: boolean;
  /** Certificates are not verified. */
  insecure: boolean;
  ca?: Buffer[];
  clientCertificate?: { cert: Buffer; key: Buffer };
}

const HUB = 'docker.io';
const HUB_URL = 'https://registry-1.docker.io';

/** The endpoints to try for a registry, in order. Mirrors are for pulling from docker.io only. */
export function registryEndpoints(
  host: string,
  settings: RegistrySettings,
  o: { pull: boolean },
): RegistryEndpoint[] {
  const own = certificates(host, settings.certificateDirectories);
  if (host === HUB) {
    const mirrors = (o.pull ? settings.mirrors : []).map((mirror): RegistryEndpoint => {
      const url = new URL(mirror);
      return {
        url: url.origin,
        host: url.host,
        isMirror: true,
        insecure: isInsecure(url.host, settings.insecure),
        ...certificates(url.host, settings.certificateDirectories),
      };
    });
    return [...mirrors, { url: HUB_URL, host, isMirror: false, insecure: false, ...own }];
  }
  const insecure = isInsecure(host, settings.insecure);
  const endpoint = (scheme: string): RegistryEndpoint => ({
    url: `${scheme}://${host}`,
    host,
    isMirror: false,
    insecure,
    ...own,
  });
  return insecure ? [endpoint('https'), endpoint('http')] : [endpoint('https')];
}

/** Whether `host[:port]` is on the list; loopback always is, as with Docker. */
function isInsecure(host: string, list: readonly string[]): boolean {
  const name = hostnameOf(host);
  if (name === 'localhost' || (isIP(name) !== 0 && addressClass(name) === 'loopback')) return true;
  return list.some((entry) => {
    const [network = '', prefix] = entry.split('/');
    if (prefix === undefined) return entry === host || entry === name;
    return isIP(name) !== 0 && isInNetwork(name, network, Number(prefix));
  });
}

function hostnameOf(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

function isInNetwork(address: string, network: string, prefix: number): boolean {
  if (isIP(address) !== 4 || isIP(network) !== 4) return false;
  const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const block = 2 ** (32 - prefix);
  return Math.floor(number(address) / block) === Math.floor(number(network) / block);
}

/** Docker's layout: every `.crt` is a CA; `x.cert` with `x.key` is shown to the registry. */
function certificates(
  host: string,
  directories: readonly string[],
): Pick<RegistryEndpoint, 'ca' | 'clientCertificate'> {
  for (const directory of directories) {
    const path = join(directory, host);
    if (!existsSync(path)) continue;
    const names = readdirSync(path).sort();
    const ca = names.filter((name) => name.endsWith('.crt')).map((name) => readFileSync(join(path, name)));
    const client = names.find(
      (name) => name.endsWith('.cert') && names.includes(name.replace(/cert$/, 'key')),
    );
    return {
      ...(ca.length === 0 ? {} : { ca }),
      ...(client === undefined
        ? {}
        : {
            clientCertificate: {
              cert: readFileSync(join(path, client)),
              key: readFileSync(join(path, client.replace(/cert$/, 'key'))),
            },
          }),
    };
  }
  return {};
}
