import type { PortBinding } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { ComposeValue } from './compose-file.ts';
import { checkKeys } from './supported-keys.ts';
import { map, oneOf, text } from './value-reader.ts';

export interface PublishedPorts {
  /** `80/tcp`. */
  target: string;
  bindings: PortBinding[];
  /** Where it says so: on a cluster, through the routing mesh or on the task's node alone. */
  mode?: 'ingress' | 'host';
  name?: string;
}

/**
 * An entry of `ports`, short or long. A range of host ports for one container port is kept as a range, so that every replica
 * gets one of its own.
 */
export function readPorts(value: ComposeValue): PublishedPorts[] {
  if (value.kind === 'map') return [longPort(value)];
  const match = /^(?:(?:\[?([0-9a-f.:]+)\]?:)?(\d+(?:-\d+)?)?:)?(\d+(?:-\d+)?)(?:\/(tcp|udp))?$/i.exec(
    text(value),
  );
  if (match === null)
    throw invalid(
      `${value.place}: ${JSON.stringify(text(value))} is no port: write [host:][published:]target[/protocol]`,
    );
  const [, HostIp = '', published = '', target = '', protocol = 'tcp'] = match;
  const [first, last] = range(target);
  if (first === last)
    return [{ target: `${first}/${protocol}`, bindings: [{ HostIp, HostPort: published }] }];
  const [hostFirst, hostLast] = published === '' ? [0, 0] : range(published);
  if (published !== '' && hostLast - hostFirst !== last - first)
    throw invalid(`${value.place}: the two ranges have different lengths`);
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    target: `${first + i}/${protocol}`,
    bindings: [{ HostIp, HostPort: published === '' ? '' : String(hostFirst + i) }],
  }));
}

function longPort(value: ComposeValue): PublishedPorts {
  checkKeys(value, 'port', 'ports');
  const entries = map(value);
  const read = (key: string, other: string): string => {
    const found = entries.get(key);
    return found === undefined ? other : text(found);
  };
  if (!entries.has('target')) throw invalid(`${value.place}: target is missing`);
  const mode = entries.get('mode');
  const name = entries.get('name');
  return {
    target: `${read('target', '')}/${read('protocol', 'tcp')}`,
    bindings: [{ HostIp: read('host_ip', ''), HostPort: read('published', '') }],
    ...(mode === undefined ? {} : { mode: oneOf(mode, ['ingress', 'host']) }),
    ...(name === undefined ? {} : { name: text(name) }),
  };
}

function range(text: string): [number, number] {
  const [first = 0, last = first] = text.split('-').map(Number);
  return [first, last];
}
