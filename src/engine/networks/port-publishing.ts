import type { ContainerConfig, HostConfig, PortBinding } from '#model/container.ts';
import { invalid, notImplemented } from '#model/errors.ts';

/** One published port that has to be found a place on the host. */
export interface WantedPort {
  /** `80/tcp`. */
  key: string;
  containerPort: number;
  protocol: 'tcp' | 'udp';
  hostIp: string;
  /** Inclusive; 0–0 is any free port. */
  first: number;
  last: number;
}

/** The ports a container publishes, in order; bindings that make no sense are `invalid`. */
export function wantedPorts(
  config: Pick<ContainerConfig, 'ExposedPorts'>,
  hostConfig: Pick<HostConfig, 'PortBindings' | 'PublishAllPorts'>,
  defaultAddress: string,
): WantedPort[] {
  const wanted: WantedPort[] = [];
  const bindings: Record<string, PortBinding[] | null> = { ...hostConfig.PortBindings };
  if (hostConfig.PublishAllPorts) {
    for (const key of Object.keys(config.ExposedPorts ?? {}))
      bindings[key] ??= [{ HostIp: '', HostPort: '' }];
  }
  for (const [key, places] of Object.entries(bindings)) {
    const { containerPort, protocol } = parsePortKey(key);
    for (const place of places ?? []) {
      const [first, last] = parseHostPort(place.HostPort);
      if (place.HostIp.includes(':')) {
        const beside = places?.some(
          ({ HostIp, HostPort }) => !HostIp.includes(':') && HostPort === place.HostPort,
        );
        // The IPv6 wildcard beside the IPv4 one is how clients ask for both.
        if (place.HostIp === '::' && beside === true) continue;
        throw notImplemented(`publishing ${key} on the IPv6 address ${place.HostIp}`);
      }
      wanted.push({
        key,
        containerPort,
        protocol,
        hostIp: place.HostIp === '' ? defaultAddress : place.HostIp,
        first,
        last,
      });
    }
  }
  return wanted;
}

function parsePortKey(key: string): { containerPort: number; protocol: 'tcp' | 'udp' } {
  const [port = '', protocol = 'tcp'] = key.split('/');
  const containerPort = Number(port);
  if (!/^\d+$/.test(port) || containerPort < 1 || containerPort > 65535)
    throw invalid(`invalid port specification: ${JSON.stringify(key)}`);
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw invalid(`invalid protocol in port specification ${JSON.stringify(key)}: publish tcp or udp ports`);
  }
  return { containerPort, protocol };
}

function parseHostPort(text: string): [number, number] {
  if (text === '' || text === '0') return [0, 0];
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1] ?? -1);
  const last = Number(match?.[2] ?? first);
  if (match === null || first < 1 || last > 65535 || last < first)
    throw invalid(`invalid port specification: ${JSON.stringify(text)}`);
  return [first, last];
}
