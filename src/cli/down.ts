import { LABEL } from '#compose/container-request.ts';
import type { Project } from '#compose/project.ts';
import type { ApiClient } from './api-client.ts';
import type { Progress } from './progress.ts';
import { actualOf, listContainers, ownedNetworks, ownedVolumes } from './project-state.ts';
import { stopProject } from './up.ts';

/** Stops and removes a project: containers, networks, and with `volumes` its volumes too. */
export async function down(
  client: ApiClient,
  project: Pick<Project, 'name' | 'services'>,
  o: { volumes: boolean; removeOrphans: boolean; timeoutSeconds: number | undefined },
  progress: Progress,
): Promise<void> {
  await stopProject(client, project.name, o.timeoutSeconds, progress);
  for (const container of await listContainers(client, project.name)) {
    const { id, name } = actualOf(container);
    const isOrphan = !project.services.has(container.Labels[LABEL.service] ?? '');
    if (isOrphan && !o.removeOrphans) {
      progress.note(`Container ${name} is no longer in the file: remove it with --remove-orphans.`);
      continue;
    }
    await client.call('DELETE', `/containers/${id}?force=1${o.volumes ? '&v=1' : ''}`);
    progress.done('Container', name, 'Removed');
  }
  for (const name of await ownedNetworks(client, project.name)) {
    await client.call('DELETE', `/networks/${encodeURIComponent(name)}`);
    progress.done('Network', name, 'Removed');
  }
  if (!o.volumes) return;
  for (const name of await ownedVolumes(client, project.name)) {
    await client.call('DELETE', `/volumes/${encodeURIComponent(name)}`);
    progress.done('Volume', name, 'Removed');
  }
}
