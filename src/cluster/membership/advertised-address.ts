import { createConnection, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { parseAddress } from '#cluster/transport/address.ts';
import { invalid, messageOf, unavailable } from '#model/errors.ts';

/** Swarm's. */
const DEFAULT_PORT = 2377;
const CONNECT_TIMEOUT_MS = 5000;

export interface Addresses {
  /** `host:port`. */
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  /** An IP address. */
  readonly dataPathAddress: string;
}

export interface AskedAddresses {
  /** `address[:port]` or `interface[:port]`; empty where nothing is said. */
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly dataPathAddress: string;
}

/**
 * The addresses of a node, from what was asked and what the machine has. `towards` is a manager: without an advertised address it is the
 * one that this machine has in its direction. Interfaces that `isOwn` (containers' bridges) do not lead to other machines. `invalid` in Docker's words where the machine has several and none was named.
 */
export async function resolveAddresses(
  asked: AskedAddresses,
  o: { towards?: string; isOwn: (interfaceName: string) => boolean },
): Promise<Addresses> {
  const listen = split(asked.listenAddress === '' ? '0.0.0.0' : asked.listenAddress);
  const listenHost = listen.host === '0.0.0.0' || listen.host === '::' ? listen.host : addressOf(listen.host);
  const listenPort = listen.port ?? DEFAULT_PORT;
  const advertise = split(asked.advertiseAddress);
  const advertiseHost =
    advertise.host === ''
      ? listenHost !== '0.0.0.0' && listenHost !== '::'
        ? listenHost
        : await ownAddress(o)
      : addressOf(advertise.host);
  const dataPath = asked.dataPathAddress === '' ? advertiseHost : addressOf(asked.dataPathAddress);
  return {
    listenAddress: joined(listenHost, listenPort),
    advertiseAddress: joined(advertiseHost, advertise.port ?? listenPort),
    dataPathAddress: dataPath,
  };
}

/** `host:port` of a manager as people write it: the port may be left out. */
export function remoteAddress(text: string): string {
  const { host, port } = split(text);
  return joined(host, port ?? DEFAULT_PORT);
}

function split(text: string): { host: string; port: number | undefined } {
  if (text === '' || isIP(text) !== 0 || !text.includes(':')) return { host: text, port: undefined };
  return parseAddress(text);
}

function joined(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** An IP address, or that of the interface of this name. */
function addressOf(text: string): string {
  if (isIP(text) !== 0) return text;
  const found = networkInterfaces()[text]?.find(({ family }) => family === 'IPv4');
  if (found === undefined) throw invalid(`interface ${text} has no IPv4 address, or is not there`);
  return found.address;
}

async function ownAddress(o: {
  towards?: string;
  isOwn: (interfaceName: string) => boolean;
}): Promise<string> {
  if (o.towards !== undefined) return await addressTowards(o.towards);
  const own = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    o.isOwn(name) ? [] : (addresses ?? []).filter(({ family, internal }) => family === 'IPv4' && !internal),
  );
  const [first] = own;
  if (first === undefined) throw invalid("could not find the system's IP address");
  if (own.length > 1) {
    const found = own.map(({ address }) => address).join(', ');
    throw invalid(
      `could not choose an IP address to advertise since this system has multiple addresses (${found})`,
    );
  }
  return first.address;
}

/** The address that this machine has in the direction of another: that of a connection to it. */
function addressTowards(address: string): Promise<string> {
  const { host, port } = parseAddress(address);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = createConnection({ host, port, timeout: CONNECT_TIMEOUT_MS });
  socket.once('connect', () => resolve(socket.localAddress ?? ''));
  socket.once('timeout', () => reject(unavailable(`${address} does not answer`)));
  socket.once('error', (cause) =>
    reject(unavailable(`cannot reach ${address}: ${messageOf(cause)}`, { cause })),
  );
  return promise.finally(() => socket.destroy());
}
