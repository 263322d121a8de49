import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cgroupTreeProcesses, removeCgroup } from '#linux/cgroups.ts';
import { listMounts, mountTmpfs, unmount } from '#linux/mount.ts';
import { conflict, forbidden, invalid } from '#model/errors.ts';
import { lockClouds } from './cloud-lock.ts';
import { applyRules, ensureNetwork, freeSubnet, macOf, removeNetwork } from './cloud-network.ts';
import { type CloudPlace, type CloudRoot, cloudPlace, nodePlace } from './cloud-place.ts';
import {
  type CloudState,
  findCloud,
  listClouds,
  type NodeState,
  nodeOf,
  readCloud,
  writeCloud,
} from './cloud-state.ts';
import { withCut, withoutCuts } from './cuts.ts';
import { daemonAnswers, endDaemon, startDaemon } from './node-daemon.ts';
import { endProcesses, powerOff, powerOn } from './node-machine.ts';
import { isRunning } from './process-record.ts';
import { addressOf, checkSubnet } from './subnet.ts';

const MOST_NODES = 100;

/** What a cloud is to be. */
export interface CloudRequest {
  nodes: number;
  managers: number;
  /** CIDR; undefined chooses a free one. */
  subnet: string | undefined;
  /** The cloud's data in a directory named after it in this one; undefined is beside its record. */
  dataRoot: string | undefined;
  memoryRoot: boolean;
  internet: boolean;
  daemonFlags: string[];
}

/**
 * Makes a cloud, or finishes one that is half made or has stopped nodes; resolves when every daemon answers. `conflict` where there
 * is one of the name that is another than asked for.
 */
export async function raiseCloud(root: CloudRoot, name: string, request: CloudRequest): Promise<CloudState> {
  const place = cloudPlace(root, name);
  return await started(place, () => {
    const before = findCloud(place);
    const state = before ?? plan(root, place, request);
    if (before !== undefined) refuseOther(before, request);
    // first of all, so that whatever is made can be found again
    writeCloud(place, state);
    return { state, nodes: state.nodes };
  });
}

/**
 * Takes a cloud away: processes, namespaces, links, rules, mounts, cgroups, directories. One that is half made or half gone, too, and
 * all but its data of one whose record is lost. `not-found` where there is nothing of it.
 */
export async function removeCloud(root: CloudRoot, name: string): Promise<void> {
  refuseOthersThanRoot();
  const place = cloudPlace(root, name);
  using _lock = lockClouds(place);
  const isThere = existsSync(place.run) || cgroupTreeProcesses(place.cgroup).length > 0;
  const state = isThere ? findCloud(place) : readCloud(place);
  await Promise.all((state?.nodes ?? []).map((node) => powerOff(place, node)));
  await endProcesses(place.cgroup);
  removeNetwork(place);
  if (state?.memoryRoot === true) unmount(state.dataRoot);
  if (state !== undefined) rmSync(state.dataRoot, { recursive: true, force: true });
  rmSync(place.run, { recursive: true, force: true });
  removeCgroup(place.cgroup);
  // last of all: until here it is found by its record
  rmSync(place.lib, { recursive: true, force: true });
}

/** Starts a node that was stopped, killed or crashed; resolves when its daemon answers. */
export async function startNode(root: CloudRoot, name: string, node: string): Promise<void> {
  const place = cloudPlace(root, name);
  await started(place, () => {
    const state = readCloud(place);
    return { state, nodes: [nodeOf(state, node)] };
  });
}

/** Ends a node's daemon in order, or with SIGKILL as the kernel does when memory runs out; its containers go on. */
export async function stopNode(
  root: CloudRoot,
  name: string,
  node: string,
  signal: 'SIGTERM' | 'SIGKILL',
): Promise<void> {
  await changed(cloudPlace(root, name), (state) => endDaemon(nodeOf(state, node), signal));
}

/** Replaces a node's daemon by one that is started anew, without touching its containers. */
export async function upgradeNode(root: CloudRoot, name: string, node: string): Promise<void> {
  await stopNode(root, name, node, 'SIGTERM');
  await startNode(root, name, node);
}

/** What a power failure does to a node: nothing is left of it but its data. */
export async function crashNode(root: CloudRoot, name: string, node: string): Promise<void> {
  const place = cloudPlace(root, name);
  await changed(place, (state) => powerOff(place, nodeOf(state, node)));
}

/** Lets nothing through between a node and `others`, or between it and everybody where none are named. */
export async function cutNode(
  root: CloudRoot,
  name: string,
  node: string,
  others: readonly string[],
): Promise<void> {
  const place = cloudPlace(root, name);
  await changed(place, (state) => {
    for (const each of [node, ...others]) nodeOf(state, each);
    state.cuts = withCut(state.cuts, node, others);
    applyRules(place, state);
  });
}

/** Ends the cuts that a node has a part in, or all of them. */
export async function healNodes(root: CloudRoot, name: string, node: string | undefined): Promise<void> {
  const place = cloudPlace(root, name);
  await changed(place, (state) => {
    if (node !== undefined) nodeOf(state, node);
    state.cuts = withoutCuts(state.cuts, node);
    applyRules(place, state);
  });
}

/** Changes what is and its record, alone; the record is written also when the change fails half-way. */
async function changed(
  place: CloudPlace,
  change: (state: CloudState) => void | Promise<void>,
): Promise<void> {
  refuseOthersThanRoot();
  using _lock = lockClouds(place);
  const state = readCloud(place);
  try {
    await change(state);
  } finally {
    writeCloud(place, state);
  }
}

/** Brings nodes up, each from where it is, and waits for their daemons once others may change the cloud again. */
async function started(
  place: CloudPlace,
  choose: () => { state: CloudState; nodes: NodeState[] },
): Promise<CloudState> {
  refuseOthersThanRoot();
  const start = async (): Promise<{ state: CloudState; nodes: NodeState[] }> => {
    using _lock = lockClouds(place);
    const chosen = choose();
    const { state } = chosen;
    mkdirSync(state.dataRoot, { recursive: true, mode: 0o710 });
    if (state.memoryRoot && !listMounts().some(({ target }) => target === state.dataRoot))
      mountTmpfs({ target: state.dataRoot, options: 'mode=710' });
    ensureNetwork(place, state);
    for (const node of chosen.nodes) await startOne(place, state, node);
    return chosen;
  };
  const { state, nodes } = await start();
  await Promise.all(nodes.map((node) => daemonAnswers(place, node)));
  return state;
}

async function startOne(place: CloudPlace, state: CloudState, node: NodeState): Promise<void> {
  const init = isRunning(node.init) ? node.init : await powerOn(place, state, node);
  node.init = init;
  writeCloud(place, state);
  if (!isRunning(node.daemon)) node.daemon = await startDaemon(place, state, { ...node, init });
  writeCloud(place, state);
}

function plan(root: CloudRoot, place: CloudPlace, request: CloudRequest): CloudState {
  const { nodes, managers } = request;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MOST_NODES)
    throw invalid(`invalid number of nodes: a cloud has 1 to ${MOST_NODES}`);
  if (!Number.isInteger(managers) || managers < 1 || managers > nodes)
    throw invalid(`invalid number of managers: a cloud of ${nodes} has 1 to ${nodes}`);
  if (request.memoryRoot && request.dataRoot !== undefined)
    throw invalid(
      'the data is in memory or in a directory: --memory-root and --data-root exclude each other',
    );
  const { subnet: asked, dataRoot } = request;
  const ofClouds = listClouds(root).map(({ state }) => state.subnet);
  const subnet = asked === undefined ? freeSubnet(place, ofClouds) : checkSubnet(asked);
  const state: CloudState = {
    name: place.name,
    subnet,
    managers,
    internet: request.internet,
    dataRoot: dataRoot === undefined ? join(place.lib, 'data') : join(resolve(dataRoot), place.name),
    memoryRoot: request.memoryRoot,
    daemonFlags: request.daemonFlags,
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: `node${index + 1}`,
      address: addressOf(subnet, index + 2).split('/')[0] ?? '',
      mac: macOf(place, index + 1),
      port: `${place.bridge}-${index + 1}`,
    })),
    cuts: { isolated: [], links: [] },
  };
  for (const { name } of state.nodes) nodePlace(place, name);
  return state;
}

function refuseOther(state: CloudState, request: CloudRequest): void {
  const differs =
    state.nodes.length !== request.nodes ||
    state.managers !== request.managers ||
    state.memoryRoot !== request.memoryRoot ||
    state.internet !== request.internet ||
    (request.subnet !== undefined && request.subnet !== state.subnet);
  if (differs)
    throw conflict(`there is a cloud ${state.name} already, and it is another one`, {
      hint: `drover cloud ls shows it, drover cloud down ${state.name} takes it away.`,
    });
}

function refuseOthersThanRoot(): void {
  if (process.getuid?.() !== 0)
    throw forbidden('a cloud is made of namespaces, links and cgroups: that needs root');
}
