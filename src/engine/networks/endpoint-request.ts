import type { ContainerRecord, EndpointSettings } from '#model/container.ts';
import { forbidden, invalid } from '#model/errors.ts';
import type { NetworkRecord } from '#model/network.ts';
import { parseAddress } from './ipv4.ts';

/** An endpoint that nothing was asked of and nothing given to. */
export function emptyEndpoint(): EndpointSettings {
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: null,
    MacAddress: '',
    DriverOpts: null,
    GwPriority: 0,
    NetworkID: '',
    EndpointID: '',
    Gateway: '',
    IPAddress: '',
    IPPrefixLen: 0,
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}

/** `default` is Docker's other word for the default bridge. */
export function networkOfMode(networkMode: string): string {
  return networkMode === '' || networkMode === 'default' ? 'bridge' : networkMode;
}

/** What is kept of the networks a new container asks for, keyed by network; errors as Docker's. */
export function validateEndpoints(
  networkMode: string,
  asked: Record<string, Partial<EndpointSettings>>,
): Record<string, EndpointSettings> {
  const own = networkOfMode(networkMode);
  if (own.startsWith('container:')) {
    if (Object.keys(asked).length > 0) {
      throw invalid('conflicting options: cannot attach both a container network and other networks');
    }
    return {};
  }
  const networks: Record<string, EndpointSettings> = {};
  const main = asked[own] ?? asked[networkMode];
  networks[own] = endpointOf(own, main ?? {});
  for (const [name, settings] of Object.entries(asked)) {
    if (name !== own && name !== networkMode) networks[name] = endpointOf(name, settings);
  }
  return networks;
}

/** Throws Docker's words for a container that cannot be put on one more network, of this driver. */
export function checkConnectable(
  { name, hostConfig, networks }: ContainerRecord,
  network: { readonly name: string; readonly driver: NetworkRecord['Driver'] },
): void {
  if (networks[network.name] !== undefined)
    throw forbidden(`endpoint with name ${name} already exists in network ${network.name}`);
  const mode = networkOfMode(hostConfig.NetworkMode);
  if (mode === 'host' || network.driver === 'host')
    throw invalid('container cannot be disconnected from host network or connected to host network');
  if (mode.startsWith('container:'))
    throw invalid(
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  if (network.driver === 'null')
    throw invalid(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
}

/** Checks one endpoint's settings. */
export function endpointOf(network: string, asked: Partial<EndpointSettings>): EndpointSettings {
  const aliases = asked.Aliases ?? [];
  const address = asked.IPAMConfig?.IPv4Address ?? '';
  if (asked.IPAMConfig?.IPv6Address !== undefined && asked.IPAMConfig.IPv6Address !== '') {
    throw invalid('IPv6 addresses are not there yet: leave out --ip6');
  }
  if (address !== '') parseAddress(address);
  if (['bridge', 'host', 'none'].includes(network)) {
    if (address !== '') throw invalid('user specified IP address is supported on user defined networks only');
    if (aliases.length > 0)
      throw invalid('network-scoped alias is supported only for containers in user defined networks');
  }
  if (
    asked.MacAddress !== undefined &&
    asked.MacAddress !== '' &&
    !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(asked.MacAddress)
  ) {
    throw invalid(`invalid MAC address: ${asked.MacAddress}`);
  }
  return {
    ...emptyEndpoint(),
    IPAMConfig: address === '' ? null : { IPv4Address: address },
    Links: asked.Links ?? null,
    Aliases: aliases.length === 0 ? null : [...aliases],
    MacAddress: asked.MacAddress ?? '',
    DriverOpts: asked.DriverOpts ?? null,
    GwPriority: asked.GwPriority ?? 0,
  };
}

/** True for a container with interfaces: not between two runs either. */
export function hasNamespace({ state }: ContainerRecord): boolean {
  return state.Running && !state.Restarting;
}
