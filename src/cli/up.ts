import { containerRequest, LABEL, networkRequest } from '#compose/container-request.ts';
import { type ContainerStep, type Plan, type PlanOptions, planUp } from '#compose/plan.ts';
import type { Project, Service } from '#compose/project.ts';
import { DroverError, internal, notFound } from '#model/errors.ts';
import type { DependencyCondition } from '#model/stack.ts';
import type { ApiClient } from './api-client.ts';
import type { Progress } from './progress.ts';
import { actualOf, isNetwork, listContainers, networkNames, volumeNames } from './project-state.ts';

export interface UpOptions extends PlanOptions {
  removeOrphans: boolean;
  /** Also waits until every service runs, or is healthy where it has a check. */
  wait: boolean;
}

interface Inspected {
  Id: string;
  Name: string;
  State: { Status: string; ExitCode: number; Health?: { Status: string } };
}

/** Makes the project as its files say. What is right already is left alone. */
export async function up(
  client: ApiClient,
  project: Project,
  options: UpOptions,
  progress: Progress,
): Promise<void> {
  const imageIds = await findImages(client, project);
  const containers = (await listContainers(client, project.name)).map(actualOf);
  const [networks, volumes] = await Promise.all([networkNames(client), volumeNames(client)]);
  await checkExternal(client, project, { networks, volumes });
  const plan = planUp(project, { containers, networks, volumes, imageIds }, options);
  await makeShared(client, project, plan, progress);
  await handleOrphans(client, project, plan, options.removeOrphans, progress);

  const converged = new Map<string, Promise<string[]>>();
  for (const { name, steps } of plan.services) {
    converged.set(name, convergeService(client, project, name, steps, { converged, imageIds, progress }));
  }
  const all = await Promise.allSettled(converged.values());
  const failed = all.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  if (options.wait) {
    await Promise.all(
      [...project.services.values()].map(async ({ name }) =>
        waitFor(client, name, (await converged.get(name)) ?? [], 'service_healthy', true),
      ),
    );
  }
}

async function findImages(client: ApiClient, project: Project): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  for (const { name, image } of project.services.values()) {
    try {
      const { Id } = await client.call<{ Id: string }>('GET', `/images/${encodeURIComponent(image)}/json`);
      ids.set(name, Id);
    } catch (error) {
      if (!(error instanceof DroverError) || error.kind !== 'not-found') throw error;
      throw notFound(`service ${name}: no such image: ${image}`, {
        hint: `Import or load it first: drover import FILE ${image}`,
      });
    }
  }
  return ids;
}

async function checkExternal(
  client: ApiClient,
  project: Project,
  { networks, volumes }: { networks: ReadonlySet<string>; volumes: ReadonlySet<string> },
): Promise<void> {
  for (const { external, name } of project.networks.values()) {
    if (external && !networks.has(name) && !(await isNetwork(client, name)))
      throw notFound(`network ${name} declared as external, but could not be found`);
  }
  for (const { external, name } of project.volumes.values()) {
    if (external && !volumes.has(name)) throw notFound(`external volume ${JSON.stringify(name)} not found`);
  }
}

async function makeShared(
  client: ApiClient,
  project: Project,
  plan: Plan,
  progress: Progress,
): Promise<void> {
  for (const key of plan.networks) {
    const network = project.networks.get(key);
    if (network === undefined) continue;
    await client.call('POST', '/networks/create', networkRequest(network));
    progress.done('Network', network.name, 'Created');
  }
  for (const key of plan.volumes) {
    const volume = project.volumes.get(key);
    if (volume === undefined) continue;
    await client.call('POST', '/volumes/create', volume.body);
    progress.done('Volume', volume.name, 'Created');
  }
}

async function handleOrphans(
  client: ApiClient,
  project: Project,
  plan: Plan,
  remove: boolean,
  progress: Progress,
): Promise<void> {
  if (plan.orphans.length === 0) return;
  if (!remove) {
    const names = plan.orphans.map(({ name }) => name).join(', ');
    progress.note(
      `Found orphan containers (${names}) for project ${project.name}: remove them with --remove-orphans.`,
    );
    return;
  }
  for (const { id, name } of plan.orphans) {
    await client.call('DELETE', `/containers/${id}?force=1`);
    progress.done('Container', name, 'Removed');
  }
}

interface Convergence {
  converged: ReadonlyMap<string, Promise<string[]>>;
  imageIds: ReadonlyMap<string, string>;
  progress: Progress;
}

/** Does a service's steps once those it depends on are as far as it asks; gives the IDs of its containers. */
async function convergeService(
  client: ApiClient,
  project: Project,
  name: string,
  steps: readonly ContainerStep[],
  o: Convergence,
): Promise<string[]> {
  const service = project.services.get(name);
  if (service === undefined) throw internal(`no service ${name}`);
  const prepared = await Promise.all(steps.map((step) => prepare(client, project, service, step, o)));
  const toStart = prepared.filter((each) => each.start);
  if (toStart.length > 0) {
    for (const [dependency, { condition }] of service.dependsOn) {
      await waitFor(client, dependency, (await o.converged.get(dependency)) ?? [], condition, false);
    }
  }
  // One after another: replicas take their ports from a range in order.
  for (const { id, containerName } of toStart) {
    await client.call('POST', `/containers/${id}/start`);
    o.progress.done('Container', containerName, 'Started');
  }
  return prepared.filter((each) => each.id !== '').map((each) => each.id);
}

async function prepare(
  client: ApiClient,
  project: Project,
  service: Service,
  step: ContainerStep,
  o: Convergence,
): Promise<{ id: string; containerName: string; start: boolean }> {
  switch (step.do) {
    case 'keep':
      o.progress.done('Container', step.name, 'Running');
      return { id: step.id, containerName: step.name, start: false };
    case 'start':
      return { id: step.id, containerName: step.name, start: true };
    case 'remove':
      await client.call('POST', `/containers/${step.id}/stop`);
      await client.call('DELETE', `/containers/${step.id}?force=1`);
      o.progress.done('Container', step.name, 'Removed');
      return { id: '', containerName: step.name, start: false };
    case 'recreate':
      await client.call('POST', `/containers/${step.id}/stop`);
      await client.call('DELETE', `/containers/${step.id}?force=1`);
      return createContainer(client, project, service, step, 'Recreated', o);
    case 'create':
      return createContainer(client, project, service, step, 'Created', o);
  }
}

async function createContainer(
  client: ApiClient,
  project: Project,
  service: Service,
  step: { number: number; name: string },
  what: string,
  o: Convergence,
): Promise<{ id: string; containerName: string; start: boolean }> {
  const body = containerRequest(project, service, step.number, o.imageIds.get(service.name) ?? '');
  const { Id } = await client.call<{ Id: string }>(
    'POST',
    `/containers/create?name=${encodeURIComponent(step.name)}`,
    body,
  );
  o.progress.done('Container', step.name, what);
  return { id: Id, containerName: step.name, start: true };
}

/**
 * Resolves when every container of a service meets the condition; woken by events, so nothing is polled. Rejects when one
 * can no longer meet it.
 */
async function waitFor(
  client: ApiClient,
  service: string,
  ids: readonly string[],
  condition: DependencyCondition,
  startedIsEnough: boolean,
): Promise<void> {
  if (condition === 'service_started' || ids.length === 0) return;
  const closing = new AbortController();
  const filters = encodeURIComponent(JSON.stringify({ type: ['container'], container: ids }));
  const events = await client.open('GET', `/events?filters=${filters}`, undefined, closing.signal);
  try {
    // Subscribed first, looked at then: nothing falls between the two.
    if (await allMeet(client, service, ids, condition, startedIsEnough)) return;
    for await (const _event of events)
      if (await allMeet(client, service, ids, condition, startedIsEnough)) return;
    throw internal('the daemon ended while it was waited for');
  } finally {
    events.destroy();
    closing.abort();
  }
}

async function allMeet(
  client: ApiClient,
  service: string,
  ids: readonly string[],
  condition: DependencyCondition,
  startedIsEnough: boolean,
): Promise<boolean> {
  const states = await Promise.all(ids.map((id) => client.call<Inspected>('GET', `/containers/${id}/json`)));
  return states.every(({ Name, State }) => {
    const name = Name.replace(/^\//, '');
    if (condition === 'service_completed_successfully') {
      if (State.Status === 'exited' && State.ExitCode !== 0) {
        throw internal(
          `dependency failed to start: service ${service}: container ${name} exited (${State.ExitCode})`,
        );
      }
      return State.Status === 'exited';
    }
    if (State.Status === 'exited' || State.Status === 'dead') {
      throw internal(`dependency failed to start: container ${name} exited (${State.ExitCode})`, {
        hint: `See: drover logs ${service}`,
      });
    }
    if (State.Health === undefined || State.Health.Status === 'none') {
      if (startedIsEnough) return State.Status === 'running';
      throw internal(`dependency failed to start: container ${name} has no healthcheck configured`);
    }
    if (State.Health.Status === 'unhealthy') {
      throw internal(`dependency failed to start: container ${name} is unhealthy`, {
        hint: `See: docker inspect ${name}`,
      });
    }
    return State.Health.Status === 'healthy';
  });
}

/** Stops a project's containers, those that others depend on last. */
export async function stopProject(
  client: ApiClient,
  project: string,
  timeoutSeconds: number | undefined,
  progress: Progress,
): Promise<void> {
  const containers = await listContainers(client, project);
  const depth = (service: string, seen: readonly string[] = []): number => {
    if (seen.includes(service)) return 0;
    const of = containers.find(({ Labels }) => Labels[LABEL.service] === service);
    const dependencies = (of?.Labels[LABEL.dependsOn] ?? '')
      .split(',')
      .map((each) => each.split(':')[0] ?? '')
      .filter((each) => each !== '');
    return 1 + Math.max(0, ...dependencies.map((each) => depth(each, [...seen, service])));
  };
  const byDepth = Map.groupBy(containers, ({ Labels }) => depth(Labels[LABEL.service] ?? ''));
  const timeout = timeoutSeconds === undefined ? '' : `?t=${timeoutSeconds}`;
  for (const level of [...byDepth.keys()].sort((a, b) => b - a)) {
    await Promise.all(
      (byDepth.get(level) ?? []).map(async (container) => {
        if (container.State !== 'exited' && container.State !== 'created') {
          await client.call('POST', `/containers/${container.Id}/stop${timeout}`);
          progress.done('Container', actualOf(container).name, 'Stopped');
        }
      }),
    );
  }
}
