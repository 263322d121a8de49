import { stackOf } from '#cluster/control/stack-services.ts';
import { SimulatedClient } from './client.ts';
import { isSound, unsettled, unsoundStacks } from './convergence.ts';
import { faultHappens, mendAll } from './faults.ts';
import { InvariantBroken, SimulatedCluster } from './simulated-cluster.ts';

/** Trouble lasts so long; then everything is mended, and has to come to rest. */
const TROUBLE_MS = 40_000;
/** Clients that wait for an answer have it by then. */
const ANSWER_MS = 60_000;
const REST_MS = 240_000;
const LOOK_EVERY_MS = 2000;
/** After it came to rest, what was on its way is done with by then. */
const SETTLE_MS = 10_000;
const IDLE_MS = 60_000;

/**
 * One seed's story: a cluster, clients that change their minds, and (but for every fifth seed) faults; then an end of all faults. Throws
 * what was broken, or what did not come to rest.
 */
export async function runScenario(
  seed: number,
  onTrace: (text: string) => void = () => undefined,
): Promise<void> {
  const isCalm = seed % 5 === 0;
  using cluster = new SimulatedCluster(seed, { managers: 3, workers: 3 }, { isCalm, onTrace });
  const { random } = cluster;
  const client = new SimulatedClient(cluster, { isCalm });
  for (const node of cluster.nodes) node.start();
  const startMs = cluster.clock.nowMs();
  for (let services = random.between(1, 3); services > 0; services--) {
    await pass(cluster, random.between(100, 1000));
    client.createService();
  }
  while (cluster.clock.nowMs() < startMs + TROUBLE_MS) {
    await pass(cluster, random.between(100, 3000));
    // some at the same moment, at different managers
    if (random.chance(50)) for (let acts = random.pick([1, 1, 1, 2, 4]); acts > 0; acts--) client.act();
    else if (!isCalm) faultHappens(cluster, random);
  }
  mendAll(cluster);
  await putInOrder(cluster, client);
  await rest(cluster);
  if (random.chance(30)) {
    client.rollBackStack();
    await putInOrder(cluster, client);
    await rest(cluster);
  }
  for (const what of client.lost()) throw new InvariantBroken(`lost: ${what}`);
  await idle(cluster);
}

async function pass(cluster: SimulatedCluster, ms: number): Promise<void> {
  await cluster.runUntil(cluster.clock.nowMs() + ms);
}

/** What cannot come to rest is taken back by those who asked for it. */
async function putInOrder(cluster: SimulatedCluster, client: SimulatedClient): Promise<void> {
  const endMs = cluster.clock.nowMs() + ANSWER_MS;
  while (cluster.clock.nowMs() < endMs) {
    await pass(cluster, LOOK_EVERY_MS);
    if (client.ledger.pending > 0) continue;
    const { truth } = cluster;
    // a request to remove one was answered by nobody, and done
    for (const node of cluster.nodes.filter(({ id }) => truth.get('node', id) === undefined)) {
      cluster.drop(node);
      cluster.join().start();
    }
    const unwanted = [...truth.all('service')].filter(
      ({ removing, Spec }) =>
        removing !== true && stackOf(Spec.Labels) === undefined && !isSound(truth, Spec),
    );
    const stacks = unsoundStacks(truth);
    const inactive = [...truth.all('node')].filter(({ Spec }) => Spec.Availability !== 'active');
    if (unwanted.length + inactive.length + stacks.length === 0) return;
    for (const service of unwanted) client.removeService(service);
    for (const stack of stacks) client.removeStack(stack);
    for (const { ID } of inactive) client.activate(ID);
  }
  throw new Error(`${client.ledger.pending} clients still wait for an answer`);
}

async function rest(cluster: SimulatedCluster): Promise<void> {
  const endMs = cluster.clock.nowMs() + REST_MS;
  let reasons: string[] = [];
  let seen = 0;
  while (cluster.clock.nowMs() < endMs) {
    await pass(cluster, LOOK_EVERY_MS);
    reasons = [...unsettled(cluster)];
    // what waits for something that is under way is at rest only for a moment
    const { revision } = cluster.database;
    if (reasons.length === 0 && revision === seen) return;
    seen = revision;
  }
  throw new Error(`the cluster did not come to rest: ${reasons.join('; ')}`);
}

/** A cluster in which nothing happens writes nothing. */
async function idle(cluster: SimulatedCluster): Promise<void> {
  await pass(cluster, SETTLE_MS);
  const { revision } = cluster.database;
  await pass(cluster, IDLE_MS);
  const written = cluster.database.revision - revision;
  if (written > 0)
    throw new InvariantBroken(`${written} commits were made in a minute in which nothing happened`);
}
