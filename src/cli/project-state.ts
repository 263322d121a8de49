import { LABEL } from '#compose/container-request.ts';
import type { ActualContainer } from '#compose/plan.ts';
import { kindOf } from '#model/errors.ts';
import type { ApiClient } from './api-client.ts';

/** A line of the daemon's container list, as far as it is read here. */
export interface ListedContainer {
  Id: string;
  Names: string[];
  Image: string;
  State: string;
  Status: string;
  Labels: Record<string, string>;
  Ports: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[];
}

function byProject(project: string): string {
  return encodeURIComponent(JSON.stringify({ label: [`${LABEL.project}=${project}`] }));
}

/** Every container of a project, running or not. */
export function listContainers(client: ApiClient, project: string): Promise<ListedContainer[]> {
  return client.call('GET', `/containers/json?all=1&filters=${byProject(project)}`);
}

export function actualOf(container: ListedContainer): ActualContainer {
  const name = (container.Names[0] ?? '').replace(/^\//, '');
  return { id: container.Id, name, state: container.State, labels: container.Labels };
}

export async function networkNames(client: ApiClient): Promise<Set<string>> {
  const networks = await client.call<{ Name: string }[]>('GET', '/networks');
  return new Set(networks.map(({ Name }) => Name));
}

/** Whether a network is there that the list does not show: a worker lists those of its cluster only that are used there. */
export async function isNetwork(client: ApiClient, name: string): Promise<boolean> {
  try {
    await client.call('GET', `/networks/${encodeURIComponent(name)}`);
    return true;
  } catch (error) {
    if (kindOf(error) !== 'not-found') throw error;
    return false;
  }
}

export async function volumeNames(client: ApiClient): Promise<Set<string>> {
  const { Volumes } = await client.call<{ Volumes: { Name: string }[] | null }>('GET', '/volumes');
  return new Set((Volumes ?? []).map(({ Name }) => Name));
}

/** The networks and volumes that carry the project's label. */
export async function ownedNetworks(client: ApiClient, project: string): Promise<string[]> {
  const networks = await client.call<{ Name: string }[]>('GET', `/networks?filters=${byProject(project)}`);
  return networks.map(({ Name }) => Name);
}

export async function ownedVolumes(client: ApiClient, project: string): Promise<string[]> {
  const { Volumes } = await client.call<{ Volumes: { Name: string }[] | null }>(
    'GET',
    `/volumes?filters=${byProject(project)}`,
  );
  return (Volumes ?? []).map(({ Name }) => Name);
}
