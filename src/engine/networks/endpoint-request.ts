import type { EndpointSettings } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
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
