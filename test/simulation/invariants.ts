import { isIngress } from '#cluster/controllers/service-networks.ts';
import { isOver, isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import type { ServiceRecord } from '#model/service.ts';
import { isTerminal, stateRank, type TaskRecord } from '#model/task.ts';

const DESIRES = ['ready', 'running', 'complete', 'shutdown', 'remove'];

/** What must hold of the store after every commit, looked at where it changed. */
export function* checkStore(view: ClusterView, changes: readonly ViewChange[]): Generator<string> {
  const services = new Set<string>();
  let hasAddresses = false;
  for (const change of changes) {
    hasAddresses ||= changesAddresses(change);
    if (change.table === 'task') {
      yield* checkTask(change.before, change.after);
      services.add(change.after?.ServiceID ?? change.before?.ServiceID ?? '');
    }
    if (change.table === 'attachment') {
      hasAddresses = true;
      yield* checkAttachment(change.before, change.after);
    }
    if (change.table === 'service' && change.after !== undefined) yield* checkPorts(view, change.after);
  }
  for (const id of services) yield* checkPlaces(view, id);
  // who has one already is looked at again only when somebody gets another
  if (hasAddresses) yield* checkAddresses(view);
}

function changesAddresses(change: ViewChange): boolean {
  if (change.table === 'task') return !isAlike(change.before?.networks, change.after?.networks);
  if (change.table === 'service')
    return !isAlike(change.before?.Endpoint.VirtualIPs, change.after?.Endpoint.VirtualIPs);
  return change.table === 'node' && !isAlike(change.before?.networkAddresses, change.after?.networkAddresses);
}

function isAlike(a: object | undefined, b: object | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A task never goes back, and never gets another node, slot or address. */
function* checkTask(before: TaskRecord | undefined, after: TaskRecord | undefined): Generator<string> {
  if (before === undefined || after === undefined) return;
  const name = `task ${before.ID}`;
  if (stateRank(after.Status.State) < stateRank(before.Status.State))
    yield `${name} went back from ${before.Status.State} to ${after.Status.State}`;
  if (isTerminal(before.Status.State) && after.Status.State !== before.Status.State)
    yield `${name} was ${before.Status.State} and became ${after.Status.State}`;
  if (DESIRES.indexOf(after.DesiredState) < DESIRES.indexOf(before.DesiredState))
    yield `${name}: its wish went back from ${before.DesiredState} to ${after.DesiredState}`;
  if (before.NodeID !== '' && before.NodeID !== after.NodeID) yield `${name} moved to ${after.NodeID}`;
  if (before.networks.length > 0 && JSON.stringify(before.networks) !== JSON.stringify(after.networks))
    yield `${name} has other addresses`;
}

/** An attachment keeps its address, network and container. */
function* checkAttachment(
  before: AttachmentRecord | undefined,
  after: AttachmentRecord | undefined,
): Generator<string> {
  if (before === undefined || after === undefined || before.address === '') return;
  const said = ({ nodeId, networkId, containerId, address }: AttachmentRecord): string =>
    JSON.stringify([nodeId, networkId, containerId, address]);
  if (said(before) !== said(after)) yield `attachment ${before.ID} was ${said(before)} and is ${said(after)}`;
}

/** A place has one wanted task, or two while one takes the other's place. */
function* checkPlaces(view: ClusterView, serviceId: string): Generator<string> {
  const wanted = new Map<string, number>();
  const attempts = new Set<string>();
  for (const task of view.tasksOfService(serviceId)) {
    const place = task.Slot === 0 ? task.NodeID : String(task.Slot);
    const attempt = `${place} ${task.attempt}`;
    if (attempts.has(attempt)) yield `${serviceId}.${place} has two tasks that are its ${task.attempt}th`;
    attempts.add(attempt);
    if (isWanted(task)) wanted.set(place, (wanted.get(place) ?? 0) + 1);
  }
  for (const [place, count] of wanted) {
    if (count > 2) yield `${serviceId}.${place} has ${count} wanted tasks`;
  }
}

function* checkAddresses(view: ClusterView): Generator<string> {
  const owners = new Map<string, string>();
  const own = function* (owner: string, networkId: string, address: string): Generator<string> {
    const key = `${networkId} ${address}`;
    const other = owners.get(key);
    if (other !== undefined) yield `address ${key} is of ${other} and of ${owner}`;
    owners.set(key, owner);
  };
  for (const service of view.all('service')) {
    for (const { NetworkID, Addr } of service.Endpoint.VirtualIPs ?? []) {
      yield* own(`service ${service.ID}`, NetworkID, Addr);
    }
  }
  for (const task of view.all('task')) {
    if (isOver(task)) continue;
    for (const { networkId, address } of task.networks) yield* own(`task ${task.ID}`, networkId, address);
  }
  for (const { ID, networkId, address } of view.all('attachment')) {
    if (address !== '') yield* own(`attachment ${ID}`, networkId, address);
  }
  for (const node of view.all('node')) {
    for (const [networkId, address] of Object.entries(node.networkAddresses ?? {})) {
      yield* own(`node ${node.ID}`, networkId, address);
    }
  }
}

/** A port of the routing mesh is one service's; those in host mode are of nodes. */
function* checkPorts(view: ClusterView, service: ServiceRecord): Generator<string> {
  const ours = (service.Endpoint.Ports ?? []).filter(isIngress);
  for (const other of ours.length === 0 ? [] : view.all('service')) {
    if (other.ID === service.ID) continue;
    const theirs = (other.Endpoint.Ports ?? []).filter(isIngress).map(({ PublishedPort }) => PublishedPort);
    for (const { PublishedPort } of ours) {
      if (theirs.includes(PublishedPort))
        yield `port ${PublishedPort} is of ${service.ID} and of ${other.ID}`;
    }
  }
}
