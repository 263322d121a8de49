import type { MemoryStoreFault } from '#cluster/store/memory-store.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedNode } from './simulated-node.ts';

const HOUR_MS = 3_600_000;
const SLOW_DISK_MS = 400;
const STORE_FAULTS: readonly MemoryStoreFault[] = ['unreachable', 'unanswered', 'read-only', 'full'];

/** Something goes wrong, or is mended. */
export function faultHappens(cluster: SimulatedCluster, random: SeededRandom): void {
  const node = random.pick(cluster.nodes);
  const fault = random.below(100);
  if (fault < 10) node.kill();
  else if (fault < 17) node.crash();
  else if (fault < 35) startOne(cluster, random);
  else if (fault < 43) node.freeze(random.between(500, 9000));
  else if (fault < 54) leaderFails(cluster, random);
  else if (fault < 57) allFail(cluster, random);
  else if (fault < 66) cutOff(cluster, node, random);
  else if (fault < 72) cutOneWay(cluster, node, random);
  else if (fault < 79) cluster.network.healAll();
  else if (fault < 84) failStores(cluster, [node], random);
  else if (fault < 87) failStores(cluster, cluster.nodes, random);
  else if (fault < 90) failEngine(cluster, node, random);
  else if (fault < 92) jump(cluster, node, random);
  else if (fault < 96) loseAnswers(cluster);
  else healStores(cluster);
}

/** The end of all faults. */
export function mendAll(cluster: SimulatedCluster): void {
  cluster.trace('everything is mended');
  cluster.network.healAll();
  healStores(cluster);
  for (const node of cluster.nodes) node.start();
}

/** Who leads is where most can go wrong. */
function leaderFails(cluster: SimulatedCluster, random: SeededRandom): void {
  const leader = cluster.nodes.find(({ isLeader }) => isLeader);
  if (leader === undefined) return;
  const how = random.below(6);
  if (how === 0) leader.kill();
  else if (how === 1) leader.crash();
  else if (how === 2) cutOff(cluster, leader, random);
  else if (how === 3) failStores(cluster, [leader], random);
  else if (random.chance(40)) leader.freeze(random.between(2000, 9000));
  // until about when another one leads, and may not have done anything yet
  else leader.freezeAtCommit(random.between(2500, 5000));
}

/** An update of all machines at once, or a power cut. */
function allFail(cluster: SimulatedCluster, random: SeededRandom): void {
  const isPower = random.chance(40);
  cluster.trace(isPower ? 'the power fails' : 'all daemons restart');
  for (const node of cluster.nodes) {
    if (isPower) node.crash();
    else node.kill();
    if (random.chance(80)) node.start();
  }
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
  if (isWhole && random.chance(70)) node.store?.fail('unreachable');
}

/** What it says is not heard, or what it is told. */
function cutOneWay(cluster: SimulatedCluster, node: SimulatedNode, random: SeededRandom): void {
  const isDeaf = random.chance(50);
  cluster.trace(`${node.id} is ${isDeaf ? 'deaf' : 'mute'}`);
  for (const other of cluster.nodes) {
    if (other === node || random.chance(30)) continue;
    if (isDeaf) cluster.network.cut(other.id, node.id);
    else cluster.network.cut(node.id, other.id);
  }
}

function failStores(cluster: SimulatedCluster, nodes: readonly SimulatedNode[], random: SeededRandom): void {
  if (nodes.length > 1 && random.chance(40)) {
    cluster.trace('the disks are slow');
    cluster.diskMs = SLOW_DISK_MS;
    return;
  }
  const fault = random.pick(STORE_FAULTS);
  for (const { id, store } of nodes) {
    if (store === undefined) continue;
    cluster.trace(`${id}: its store is ${fault}`);
    store.fail(fault);
  }
}

/** Commits are made, and who asked for them hears nothing, or are made later than they were given up. */
function loseAnswers(cluster: SimulatedCluster): void {
  cluster.trace('the store loses answers');
  for (const { store } of cluster.nodes) if (store !== undefined) store.losesAnswers = true;
}

function failEngine(cluster: SimulatedCluster, node: SimulatedNode, random: SeededRandom): void {
  const what = random.pick(['calls', 'networks', 'keeper'] as const);
  cluster.trace(`${node.id}: its engine fails: ${what}`);
  if (what === 'calls') node.engine.faultPercent = random.between(5, 60);
  else if (what === 'networks') node.hasBrokenNetworks = true;
  else node.engine.hasKeeper = false;
}

function jump(cluster: SimulatedCluster, node: SimulatedNode, random: SeededRandom): void {
  const most = random.pick([1000, 60_000, HOUR_MS]);
  node.skewMs += random.between(-most, most);
  cluster.trace(`${node.id}: its date is ${node.skewMs} ms off`);
}

function healStores(cluster: SimulatedCluster): void {
  cluster.diskMs = 4;
  for (const node of cluster.nodes) {
    node.store?.fail(undefined);
    if (node.store !== undefined) node.store.losesAnswers = false;
    node.engine.faultPercent = 0;
    node.engine.hasKeeper = true;
    node.hasBrokenNetworks = false;
  }
}
