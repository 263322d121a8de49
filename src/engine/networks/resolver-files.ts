import type { ContainerRecord } from '#model/container.ts';
import type { NetworkRecord } from '#model/network.ts';
import { needsGatewayBridge } from './gateway-bridge.ts';

const LOOPBACK = /^nameserver\s+(127\.|::1)/;

/** resolv.conf(5) of a container on the default bridge: the host's, without servers that only the host reaches. */
export function hostResolvConf(container: ContainerRecord, hostFile: string): string {
  const { Dns, DnsSearch, DnsOptions } = container.hostConfig;
  const lines = hostFile.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  const kind = (keyword: string): string[] => lines.filter((line) => line.startsWith(`${keyword} `));
  const usable = kind('nameserver').filter((line) => !LOOPBACK.test(line));
  const servers =
    Dns.length > 0
      ? Dns.map((server) => `nameserver ${server}`)
      : usable.length > 0
        ? usable
        : kind('nameserver');
  const search = DnsSearch.length > 0 ? searchLine(DnsSearch) : [...kind('search'), ...kind('domain')];
  const options = DnsOptions.length > 0 ? [`options ${DnsOptions.join(' ')}`] : kind('options');
  return `${[...servers, ...search, ...options].join('\n')}\n`;
}

/** resolv.conf(5) of a container on networks of its own: this daemon answers on the gateway. */
export function gatewayResolvConf(container: ContainerRecord, gateway: string, hostFile: string): string {
  const { DnsSearch, DnsOptions } = container.hostConfig;
  const hostSearch = hostFile.split('\n').filter((line) => line.startsWith('search '));
  const search = DnsSearch.length > 0 ? searchLine(DnsSearch) : hostSearch;
  const dots = DnsOptions.some((option) => option.startsWith('ndots:')) ? [] : ['ndots:0'];
  return `${[`nameserver ${gateway}`, ...search, `options ${[...dots, ...DnsOptions].join(' ')}`].join('\n')}\n`;
}

function searchLine(domains: readonly string[]): string[] {
  return domains.includes('.') ? [] : [`search ${domains.join(' ')}`];
}

/** Where a container on these networks asks for names; undefined: of the host's resolvers. */
export function nameServerOf(
  networks: readonly NetworkRecord[],
  gatewayBridge: () => NetworkRecord,
): string | undefined {
  const bridges = networks.filter(({ Driver }) => Driver === 'bridge');
  const overlay = networks.find(({ Driver }) => Driver === 'overlay');
  const own = bridges.find(({ Name }) => Name !== 'bridge');
  // on the default bridge nobody is named, but who is on another network too asks there
  const fallback = overlay === undefined ? undefined : (bridges[0] ?? overlay);
  const asked = needsGatewayBridge(networks) ? gatewayBridge() : (own ?? fallback);
  return asked?.IPAM.Config[0]?.Gateway;
}

/** hosts(5) of a container. */
export function hostsFile(
  container: ContainerRecord,
  o: {
    addresses: readonly string[];
    hostGateway: string;
    links: readonly { address: string; names: string[] }[];
  },
): string {
  const { Hostname, Domainname } = container.config;
  const own = [Domainname === '' ? [] : [`${Hostname}.${Domainname}`], Hostname].flat().join(' ');
  const extra = (container.hostConfig.ExtraHosts ?? []).map((pair) => {
    const separator = pair.search(/[:=]/);
    const address = pair.slice(separator + 1);
    return `${address === 'host-gateway' ? o.hostGateway : address}\t${pair.slice(0, separator)}`;
  });
  return `${[
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...extra,
    ...o.links.map(({ address, names }) => `${address}\t${names.join(' ')}`),
    ...o.addresses.map((address) => `${address}\t${own}`),
  ].join('\n')}\n`;
}
