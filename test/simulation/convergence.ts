import { stackOf } from '#cluster/control/stack-services.ts';
import { modeOf, replicasOf } from '#cluster/controllers/service-defaults.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import { releasesOf, servicesOf, unsettledStacks } from './releases.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import { IMAGES, SOUND_IMAGES } from './simulated-engine.ts';

/** Why the cluster is not what was asked for, of which nothing is left when it has come to rest. */
export function* unsettled(cluster: SimulatedCluster): Generator<string> {
  const { truth } = cluster;
  if (!cluster.nodes.some(({ isLeader }) => isLeader)) yield 'nobody leads';
  for (const node of truth.all('node')) if (node.Status.State !== 'ready') yield `${node.ID} is not ready`;
  for (const node of cluster.nodes) {
    const { Spec, ManagerStatus } = truth.get('node', node.id) ?? {};
    const roles = [Spec?.Role === 'manager', ManagerStatus !== undefined, node.view !== undefined];
    if (new Set(roles).size > 1) yield `${node.id} is not a ${Spec?.Role} altogether`;
  }
  for (const service of truth.all('service')) yield* unsettledService(cluster, service);
  yield* unsettledStacks(truth);
  yield* strangers(cluster);
  yield* unsettledContainers(cluster);
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
  if (mode === 'replicated-job' || mode === 'global-job') {
    const total = service.Spec.Mode?.ReplicatedJob?.TotalCompletions ?? eligibleNodes(cluster, service);
    // one that was given up with its node may complete after all: what counts is that each place has
    const ofRun = tasks.filter(({ JobIteration }) => JobIteration === service.JobStatus?.JobIteration);
    const done = new Set(
      ofRun
        .filter(({ Status }) => Status.State === 'complete')
        .map(({ Slot, NodeID }) => (Slot === 0 ? NodeID : Slot)),
    ).size;
    const waiting = ofRun.filter(({ waiting: why }) => why !== undefined).length;
    if (done < total && waiting === 0) yield `${name} completed ${done} of ${total}`;
    return;
  }
  const isUnderWay =
    service.UpdateStatus?.State === 'updating' || service.UpdateStatus?.State === 'rollback_started';
  if (service.UpdateStatus?.State.endsWith('paused')) return;
  // those that nothing but a person can help, who is told why
  const waiting = tasks.filter((task) => task.waiting !== undefined && isWanted(task)).length;
  if (isUnderWay && waiting === 0) yield `${name} is being updated`;
  const wanted = mode === 'global' ? eligibleNodes(cluster, service) : replicasOf(service.Spec);
  if (running.length + waiting < wanted || (running.length > wanted && waiting === 0))
    yield `${name} runs ${running.length} of ${wanted}, ${waiting} wait`;
  const stale = running.filter(({ revision }) => revision !== service.revision).length;
  if (stale > 0 && waiting === 0)
    yield `${name} runs ${stale} tasks of another revision than ${service.revision}`;
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

/** Plain containers run, and the managers know of them and of no others. */
function* unsettledContainers({ truth, nodes }: SimulatedCluster): Generator<string> {
  for (const { id, containers } of nodes) {
    const told = truth
      .attachmentsOnNode(id)
      .map(({ containerId, address }) => `${containerId} ${withoutPrefix(address)}`);
    const there = [...containers.all.values()].map((each) => `${each.id} ${each.address}`);
    if (told.sort().join() !== there.sort().join())
      yield `${id} has the containers ${there.join()}, and is thought to have ${told.join()}`;
    for (const each of containers.all.values())
      if (each.address === '') yield `container ${each.id} does not run`;
  }
}

function eligibleNodes(cluster: SimulatedCluster, service: ServiceRecord): number {
  const fits = nodeFit();
  return [...cluster.truth.all('node')].filter((node) => fits(node, service.Spec.TaskTemplate)).length;
}

/** What is asked for can run, so that it can come to rest. */
export function isSound(truth: ClusterView, spec: ServiceSpec): boolean {
  const { ContainerSpec } = spec.TaskTemplate;
  const image = IMAGES.find((known) => known === ContainerSpec.Image.split(':', 1)[0]);
  const isMeantToEnd = modeOf(spec).endsWith('job') && image === 'finishing';
  const hasSecrets = (ContainerSpec.Secrets ?? []).every(
    ({ SecretID }) => truth.get('secret', SecretID) !== undefined,
  );
  return hasSecrets && (isMeantToEnd || SOUND_IMAGES.some((sound) => sound === image));
}

/** Stacks of which something that is asked for, or is there from before, cannot run. */
export function unsoundStacks(truth: ClusterView): string[] {
  const stacks = new Set([...truth.all('release')].map(({ stack }) => stack));
  for (const { Spec } of truth.all('service')) {
    const stack = stackOf(Spec.Labels);
    if (stack !== undefined) stacks.add(stack);
  }
  return [...stacks].filter((stack) => {
    const asked = releasesOf(truth, stack)[0]?.spec.services ?? [];
    return [...asked.map(({ spec }) => spec), ...servicesOf(truth, stack).map(({ Spec }) => Spec)].some(
      (spec) => !isSound(truth, spec),
    );
  });
}
