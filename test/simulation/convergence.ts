import { modeOf, replicasOf } from '#cluster/controllers/service-defaults.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import type { ServiceRecord } from '#model/service.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { type ImageName, SOUND_IMAGES } from './simulated-engine.ts';

/** Why the cluster is not what was asked for, of which nothing is left when it has come to rest. */
export function* unsettled(cluster: SimulatedCluster): Generator<string> {
  const { truth } = cluster;
  if (!cluster.nodes.some(({ isLeader }) => isLeader)) yield 'nobody leads';
  for (const node of truth.all('node')) if (node.Status.State !== 'ready') yield `${node.ID} is not ready`;
  for (const service of truth.all('service')) yield* unsettledService(cluster, service);
  yield* strangers(cluster);
}

function* unsettledService(cluster: SimulatedCluster, service: ServiceRecord): Generator<string> {
  const name = `service ${service.ID}`;
  if (service.removing === true) {
    yield `${name} is not removed`;
    return;
  }
  const running = runningOf(cluster, service.ID);
  const tasks = [...cluster.truth.tasksOfService(service.ID)];
  const mode = modeOf(service.Spec);
  if (mode === 'replicated-job') {
    const { TotalCompletions = 0 } = service.Spec.Mode?.ReplicatedJob ?? {};
    // one that was given up with its node may complete after all: what counts is that each place has
    const done = new Set(
      tasks
        .filter(
          (task) => task.Status.State === 'complete' && task.JobIteration === service.JobStatus?.JobIteration,
        )
        .map(({ Slot }) => Slot),
    ).size;
    if (done !== TotalCompletions) yield `${name} completed ${done} of ${TotalCompletions}`;
    return;
  }
  const image = imageOf(service);
  const isUnderWay =
    service.UpdateStatus?.State === 'updating' || service.UpdateStatus?.State === 'rollback_started';
  // nothing comes to rest while what is asked for cannot run
  if (!SOUND_IMAGES.includes(image)) return;
  if (isUnderWay) yield `${name} is being updated`;
  if (service.UpdateStatus?.State.endsWith('paused')) return;
  const waiting = tasks.filter(({ waiting: why }) => why !== undefined).length;
  const wanted = mode === 'global' ? eligibleNodes(cluster, service) : replicasOf(service.Spec);
  if (running.length + waiting < wanted || running.length > wanted)
    yield `${name} runs ${running.length} of ${wanted}, ${waiting} wait`;
  const stale = running.filter(({ revision }) => revision !== service.revision).length;
  if (stale > 0) yield `${name} runs ${stale} tasks of another revision than ${service.revision}`;
}

/** The tasks that a service wants and that do run, on machines. */
function runningOf(cluster: SimulatedCluster, serviceId: string): { revision: number }[] {
  return cluster.nodes.flatMap((node) =>
    node.engine.running.flatMap(({ task, health }) => {
      const record = cluster.truth.get('task', task.id);
      const counts = task.serviceId === serviceId && health === 'healthy' && record !== undefined;
      return counts ? [{ revision: record.revision }] : [];
    }),
  );
}

/** What runs and is nobody's. */
function* strangers(cluster: SimulatedCluster): Generator<string> {
  for (const node of cluster.nodes) {
    for (const [taskId, { state }] of node.engine.containers) {
      const record = cluster.truth.get('task', taskId);
      if (record === undefined) yield `${node.id} still has a container of ${taskId}, which is deleted`;
      else if (state === 'running' && record.Status.State !== 'running' && record.Status.State !== 'starting')
        yield `${node.id} runs ${taskId}, which is ${record.Status.State}`;
    }
  }
}

function eligibleNodes(cluster: SimulatedCluster, service: ServiceRecord): number {
  const fits = nodeFit();
  return [...cluster.truth.all('node')].filter((node) => fits(node, service.Spec.TaskTemplate)).length;
}

function imageOf(service: ServiceRecord): ImageName {
  return (service.Spec.TaskTemplate.ContainerSpec.Image.split(':', 1)[0] ?? 'good') as ImageName;
}
