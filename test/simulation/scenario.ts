import type { ServiceRecord, ServiceRevision, ServiceSpec, UpdateConfig } from '#model/service.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import { unsettled } from './convergence.ts';
import type { SeededRandom } from './seeded-random.ts';
import { INGRESS, OVERLAY, SimulatedCluster } from './simulated-cluster.ts';
import { IMAGES, type ImageName, SOUND_IMAGES } from './simulated-engine.ts';
import type { SimulatedNode } from './simulated-node.ts';

const MS = 1e6;
/** Trouble lasts so long; then everything is mended, and has to come to rest. */
const TROUBLE_MS = 40_000;
const REST_MS = 240_000;
const LOOK_EVERY_MS = 2000;

/**
 * One seed's story: a cluster, a client that changes its mind, and (but for every fifth seed) faults; then an end of all faults. Throws
 * what was broken, or what did not come to rest.
 */
export async function runScenario(
  seed: number,
  onTrace: (text: string) => void = () => undefined,
): Promise<void> {
  using cluster = new SimulatedCluster(seed, { managers: 3, workers: 3 }, onTrace);
  const { random } = cluster;
  const isCalm = seed % 5 === 0;
  for (const node of cluster.nodes) node.start();
  for (let i = random.between(1, 3); i > 0; i--) createService(cluster, random);
  const startMs = cluster.clock.nowMs();
  while (cluster.clock.nowMs() < startMs + TROUBLE_MS) {
    await cluster.runUntil(cluster.clock.nowMs() + random.between(100, 3000));
    if (random.chance(50)) clientActs(cluster, random);
    else if (!isCalm) faultHappens(cluster, random);
  }
  mend(cluster);
  await rest(cluster);
}

async function rest(cluster: SimulatedCluster): Promise<void> {
  const endMs = cluster.clock.nowMs() + REST_MS;
  let reasons: string[] = [];
  while (cluster.clock.nowMs() < endMs) {
    await cluster.runUntil(cluster.clock.nowMs() + LOOK_EVERY_MS);
    reasons = [...unsettled(cluster)];
    if (reasons.length === 0) return;
  }
  throw new Error(`the cluster did not come to rest: ${reasons.join('; ')}`);
}

function createService(cluster: SimulatedCluster, random: SeededRandom): void {
  const id = cluster.id('s');
  const kind = random.below(10);
  const isJob = kind === 0;
  const isGlobal = kind === 1;
  const isSingle = kind === 2;
  const replicas = isSingle ? 1 : random.between(0, 6);
  const Mode = isJob
    ? { ReplicatedJob: { MaxConcurrent: random.between(1, 3), TotalCompletions: random.between(1, 5) } }
    : isGlobal
      ? { Global: {} }
      : { Replicated: { Replicas: replicas } };
  const spec: ServiceSpec = {
    Name: id,
    ...(isSingle ? { Labels: { 'drover.single-writer': 'true' } } : {}),
    Mode,
    TaskTemplate: template(random, isJob ? 'finishing' : random.pick(SOUND_IMAGES)),
    ...(random.chance(60) ? { UpdateConfig: updateConfig(random) } : {}),
    ...(random.chance(40) ? { EndpointSpec: { Ports: [{ TargetPort: 80, Protocol: 'tcp' as const }] } } : {}),
  };
  const times = { CreatedAt: cluster.now, UpdatedAt: cluster.now };
  const record: ServiceRecord = {
    ...times,
    ID: id,
    Spec: spec,
    revision: 1,
    Endpoint: {},
    ...(isJob ? { JobStatus: { JobIteration: 1, LastExecution: cluster.now } } : {}),
  };
  cluster.trace(`client creates ${id} ${JSON.stringify(Mode)} ${spec.TaskTemplate.ContainerSpec.Image}`);
  cluster.write([
    { table: 'service', put: record },
    { table: 'revision', put: revisionOf(record, times) },
  ]);
}

function revisionOf(
  service: ServiceRecord,
  times: { CreatedAt: string; UpdatedAt: string },
): ServiceRevision {
  const { EndpointSpec } = service.Spec;
  return {
    ...times,
    ID: `${service.ID}.${service.revision}`,
    serviceId: service.ID,
    number: service.revision,
    template: service.Spec.TaskTemplate,
    ...(EndpointSpec === undefined ? {} : { endpoint: EndpointSpec }),
  };
}

function template(random: SeededRandom, image: ImageName): TaskSpec {
  return {
    ContainerSpec: { Image: `${image}:${random.below(1000)}`, StopGracePeriod: 1000 * MS },
    RestartPolicy: {
      Condition: image === 'finishing' ? 'on-failure' : 'any',
      Delay: random.between(0, 2000) * MS,
    },
    ...(random.chance(50) ? { Networks: [{ Target: OVERLAY }] } : {}),
    ...(random.chance(20)
      ? { Placement: { Constraints: [`node.labels.zone == ${random.pick(['a', 'b'])}`] } }
      : {}),
    ...(random.chance(20) ? { Resources: { Reservations: { MemoryBytes: 2 ** 28 } } } : {}),
  };
}

function updateConfig(random: SeededRandom): UpdateConfig {
  return {
    Parallelism: random.between(0, 3),
    Delay: random.between(0, 1000) * MS,
    Monitor: random.between(100, 3000) * MS,
    FailureAction: random.pick(['pause', 'continue', 'rollback'] as const),
    MaxFailureRatio: random.pick([0, 0.3]),
    Order: random.pick(['stop-first', 'start-first'] as const),
  };
}

function clientActs(cluster: SimulatedCluster, random: SeededRandom): void {
  const services = [...cluster.truth.all('service')].filter(({ removing }) => removing !== true);
  if (services.length === 0 || (services.length < 5 && random.chance(15))) {
    createService(cluster, random);
    return;
  }
  const service = random.pick(services);
  const act = random.below(100);
  if (act < 30) scale(cluster, service, random.between(0, 8));
  else if (act < 70) update(cluster, service, random);
  else if (act < 80) remove(cluster, service);
  else if (act < 90) setAvailability(cluster, random);
  else meddle(cluster, random);
}

function scale(cluster: SimulatedCluster, service: ServiceRecord, replicas: number): void {
  if (service.Spec.Mode?.Replicated === undefined || service.Spec.Labels?.['drover.single-writer'] === 'true')
    return;
  cluster.trace(`client scales ${service.ID} to ${replicas}`);
  const Spec = { ...service.Spec, Mode: { Replicated: { Replicas: replicas } } };
  cluster.write([{ table: 'service', put: { ...service, Spec } }]);
}

function update(cluster: SimulatedCluster, service: ServiceRecord, random: SeededRandom): void {
  const isJob = service.Spec.Mode?.ReplicatedJob !== undefined;
  const image = isJob ? 'finishing' : random.chance(70) ? random.pick(SOUND_IMAGES) : random.pick(IMAGES);
  const usable = image === 'finishing' && !isJob ? 'crashing' : image;
  const number = Math.max(...cluster.truth.revisionsOf(service.ID).map((each) => each.number)) + 1;
  const made = template(random, usable);
  const Spec: ServiceSpec = { ...service.Spec, TaskTemplate: made };
  const put: ServiceRecord = {
    ...service,
    Spec,
    PreviousSpec: service.Spec,
    previousRevision: service.revision,
    revision: number,
    ...(isJob && service.JobStatus !== undefined
      ? { JobStatus: { JobIteration: service.JobStatus.JobIteration + 1, LastExecution: cluster.now } }
      : {}),
  };
  cluster.trace(`client updates ${service.ID} to r${number} ${made.ContainerSpec.Image}`);
  const times = { CreatedAt: cluster.now, UpdatedAt: cluster.now };
  cluster.write([
    { table: 'service', put },
    { table: 'revision', put: revisionOf(put, times) },
  ]);
}

function remove(cluster: SimulatedCluster, service: ServiceRecord): void {
  cluster.trace(`client removes ${service.ID}`);
  cluster.write([{ table: 'service', put: { ...service, removing: true } }]);
}

function setAvailability(cluster: SimulatedCluster, random: SeededRandom): void {
  const node = cluster.truth.get('node', random.pick(cluster.nodes).id);
  if (node === undefined) return;
  const Availability = random.pick(['active', 'active', 'drain', 'pause'] as const);
  cluster.trace(`client sets ${node.ID} to ${Availability}`);
  cluster.write([{ table: 'node', put: { ...node, Spec: { ...node.Spec, Availability } } }]);
}

/** Somebody stops or removes a container by hand. */
function meddle(cluster: SimulatedCluster, random: SeededRandom): void {
  const running = cluster.nodes.flatMap((node) => node.engine.running.map(({ task }) => ({ node, task })));
  if (running.length === 0) return;
  const { node, task } = random.pick(running);
  const how = random.pick(['stop', 'remove'] as const);
  cluster.trace(`somebody ${how}s ${task.id.slice(0, 6)} on ${node.id} by hand`);
  node.engine.meddle(task.id, how);
}

function faultHappens(cluster: SimulatedCluster, random: SeededRandom): void {
  const node = random.pick(cluster.nodes);
  const fault = random.below(100);
  if (fault < 15) node.kill();
  else if (fault < 25) node.crash();
  else if (fault < 50) startOne(cluster, random);
  else if (fault < 65) cutOff(cluster, node, random);
  else if (fault < 75) cluster.network.healAll();
  else if (fault < 85) failStore(cluster, node, random);
  else if (fault < 90) node.skewMs += random.between(-60_000, 60_000);
  else healStores(cluster);
}

function startOne(cluster: SimulatedCluster, random: SeededRandom): void {
  const down = cluster.nodes.filter(({ isUp }) => !isUp);
  if (down.length > 0) random.pick(down).start();
}

/** A node loses some or all of the others, and a manager perhaps the store with them. */
function cutOff(cluster: SimulatedCluster, node: SimulatedNode, random: SeededRandom): void {
  const isWhole = random.chance(60);
  cluster.trace(`${node.id} is cut off${isWhole ? '' : ' from some'}`);
  for (const other of cluster.nodes) {
    if (other !== node && (isWhole || random.chance(50))) cluster.network.partition([node.id], [other.id]);
  }
  if (isWhole) node.store?.fail('unreachable');
}

function failStore(cluster: SimulatedCluster, node: SimulatedNode, random: SeededRandom): void {
  const fault = random.pick(['unreachable', 'unanswered', 'read-only', 'full'] as const);
  if (node.store === undefined) return;
  cluster.trace(`${node.id}: its store is ${fault}`);
  node.store.fail(fault);
}

function healStores(cluster: SimulatedCluster): void {
  for (const { store } of cluster.nodes) store?.fail(undefined);
}

/** The end of all faults. */
function mend(cluster: SimulatedCluster): void {
  cluster.trace('everything is mended');
  cluster.network.healAll();
  healStores(cluster);
  for (const node of cluster.nodes) {
    node.start();
    const record = cluster.truth.get('node', node.id);
    if (record === undefined || record.Spec.Availability === 'active') continue;
    const Spec = { ...record.Spec, Availability: 'active' as const };
    cluster.write([{ table: 'node', put: { ...record, Spec } }]);
  }
}

export { INGRESS };
