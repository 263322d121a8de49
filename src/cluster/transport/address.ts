import { isIPv6 } from 'node:net';
import { invalid } from '#model/errors.ts';

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})$/;

/** Splits `host:port` or `[IPv6]:port`. Throws `invalid` for anything else. */
export function parseAddress(address: string): { host: string; port: number } {
  const [, six, name, digits] = ADDRESS.exec(address) ?? [];
  const host = six ?? name;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535 || (six !== undefined && !isIPv6(six)))
    throw invalid(`invalid address ${JSON.stringify(address)}: it has the form host:port`);
  return { host, port };
}
