import { readFileSync, writeFileSync } from 'node:fs';
import { endpointOf } from '#engine/networks/endpoint-request.ts';
import type { EndpointSettings } from '#model/container.ts';
import type { ContainerParts } from './container-parts.ts';
import { hasProcess, releasedEndpoint } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';

/** Puts a container on one more network, which may be the cluster's; where it runs, at once. The mutex is held by the caller. */
export async function connectToNetwork(
  parts: ContainerParts,
  record: StoredContainer,
  network: string,
  settings: Partial<EndpointSettings>,
): Promise<void> {
  const { networks, table } = parts;
  if (!hasProcess(record.state)) {
    const name = await networks.attachments.find(record, network);
    record.networks = networks.connect(record, network, settings, { name });
    table.save(record);
    return;
  }
  using place = await networks.attachments.attach(record, network, endpointOf(network, settings));
  // it may have ended while its place was asked for
  if (!hasProcess(record.state)) return await connectToNetwork(parts, record, network, settings);
  const before = networks.resolvConf(record);
  record.networks = networks.connect(record, network, settings, { place });
  table.save(record);
  followNames(parts, record, before);
}

/** Takes a running container off a network of the cluster; its next start puts it there again. */
export function takeOffNetwork(
  { networks, table }: ContainerParts,
  record: StoredContainer,
  networkId: string,
): { rest: Record<string, EndpointSettings>; wish: EndpointSettings } | undefined {
  const [name, endpoint] =
    Object.entries(record.networks).find(([, { NetworkID }]) => NetworkID === networkId) ?? [];
  if (name === undefined || endpoint === undefined || !hasProcess(record.state)) return undefined;
  const rest = networks.disconnect(record, networkId, true);
  const wish = releasedEndpoint(endpoint);
  record.networks = { ...rest, [name]: wish };
  table.save(record);
  return { rest, wish };
}

/** Gives a running container another address on a network of the cluster. Without one it is off the network, until its next start. */
export async function renewAddress(
  parts: ContainerParts,
  record: StoredContainer,
  networkId: string,
): Promise<void> {
  const off = takeOffNetwork(parts, record, networkId);
  if (off === undefined) return;
  const { networks, table } = parts;
  using place = await networks.attachments.attach(record, networkId, off.wish);
  if (!hasProcess(record.state)) return;
  record.networks = networks.connect({ ...record, networks: off.rest }, networkId, off.wish, { place });
  table.save(record);
}

/** A running container asks for names where its networks are answered; what somebody wrote into the file himself stays. */
function followNames(
  { networks, filesystems }: ContainerParts,
  record: StoredContainer,
  before: string,
): void {
  const { resolvConf } = filesystems.networkFiles(record.id);
  const now = networks.resolvConf(record);
  if (now !== before && readFileSync(resolvConf, 'utf8') === before) writeFileSync(resolvConf, now);
}
