import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import { updateRulesOf } from '#cluster/controllers/service-defaults.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { Clock } from '#control/clock.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';
import type { PlainContainer } from './simulated-containers.ts';
import type { SimulatedNode } from './simulated-node.ts';
import { SingleWriters } from './single-writers.ts';

/** How long a node that is back may take to end what was given to others. */
const RETURN_MS = 10_000;

/** What runs on all machines, whatever their daemons and the store say of it. */
export class RunningTasks {
  readonly #truth: ClusterView;
  readonly #clock: Clock;
  readonly #nodes: readonly SimulatedNode[];
  /** Until when each node was lost; infinity for those that are. */
  readonly #lostMs = new Map<string, number>();
  /** Services of which two tasks of a place may have overlapped, by any of their specs. */
  readonly #overlapping = new Set<string>();
  readonly #writers: SingleWriters;

  constructor(truth: ClusterView, clock: Clock, nodes: readonly SimulatedNode[]) {
    this.#truth = truth;
    this.#writers = new SingleWriters(truth);
    this.#clock = clock;
    this.#nodes = nodes;
  }

  observe(change: ViewChange): void {
    this.#writers.observe(change);
    const { table, id, after } = change;
    if (table === 'node') {
      if (after === undefined || after.Status.State === 'down')
        this.#lostMs.set(id, Number.POSITIVE_INFINITY);
      else if (this.#lostMs.get(id) === Number.POSITIVE_INFINITY) this.#lostMs.set(id, this.#clock.nowMs());
    }
    if (table === 'service' && after !== undefined) {
      const configs = [after.Spec.UpdateConfig, after.Spec.RollbackConfig];
      if (configs.some((config) => updateRulesOf(config).startFirst)) this.#overlapping.add(id);
    }
  }

  /** How many healthy containers of a service run that are wanted, and how many of its present revision. */
  count(serviceId: string): { all: number; current: number } {
    const revision = this.#truth.get('service', serviceId)?.revision;
    let all = 0;
    let current = 0;
    for (const node of this.#nodes) {
      for (const { task, state, health } of node.engine.containers.values()) {
        if (task.serviceId !== serviceId || state !== 'running' || health !== 'healthy') continue;
        const record = this.#truth.get('task', task.id);
        if (record === undefined || !isWanted(record)) continue;
        all += 1;
        if (record.revision === revision) current += 1;
      }
    }
    return { all, current };
  }

  /** A container has begun to run: what must not be at once is seen here. */
  *started(nodeId: string, task: AssignedTask): Generator<string> {
    const record = this.#truth.get('task', task.id);
    if (record !== undefined && record.NodeID !== nodeId)
      yield `task ${task.id} of ${record.NodeID} runs on ${nodeId}`;
    for (const node of this.#nodes) {
      yield* this.#compareWithPlain(node, nodeId, task);
      for (const { task: other, state } of node.engine.containers.values()) {
        if (state !== 'running') continue;
        if (other.id !== task.id) yield* this.#compare(node, nodeId, other, task);
        else if (node.id !== nodeId) yield `task ${task.id} runs on ${node.id} and ${nodeId}`;
      }
    }
  }

  /** A plain container has begun to run. */
  *attached(nodeId: string, { id, network, address }: PlainContainer): Generator<string> {
    if (this.#truth.get('node', nodeId) === undefined) return;
    for (const node of this.#nodes) {
      if (this.#truth.get('node', node.id) === undefined) continue;
      for (const { task, state } of node.engine.containers.values()) {
        const isThere = task.networks.some(
          (each) => each.networkId === network && withoutPrefix(each.address) === address,
        );
        if (state === 'running' && isThere)
          yield `address ${address} is of ${task.id} and of container ${id}`;
      }
      for (const other of node.containers.all.values())
        if (other.id !== id && other.network === network && other.address === address)
          yield `address ${address} is of containers ${id} and ${other.id} on ${node.id}`;
    }
  }

  *#compareWithPlain(node: SimulatedNode, nodeId: string, task: AssignedTask): Generator<string> {
    if ([node.id, nodeId].some((id) => this.#truth.get('node', id) === undefined)) return;
    for (const { id, network, address } of node.containers.all.values())
      for (const each of task.networks)
        if (each.networkId === network && withoutPrefix(each.address) === address)
          yield `address ${address} is of ${task.id} and of container ${id} on ${node.id}`;
  }

  /** Its node was removed before it heard that the task has to end by itself: whoever did so said that it is off. */
  #isGivenUp(nodeId: string, task: AssignedTask): boolean {
    return this.#truth.get('node', nodeId) === undefined && !task.singleWriter;
  }

  *#compare(node: SimulatedNode, nodeId: string, other: AssignedTask, task: AssignedTask): Generator<string> {
    // what runs on a machine that was removed nobody sends anything to
    if ([node.id, nodeId].every((id) => this.#truth.get('node', id) !== undefined))
      yield* sharedAddresses(node.id, other, task);
    if (node.id === nodeId) yield* sharedPorts(nodeId, other, task);
    if (other.serviceId !== task.serviceId) return;
    if (this.#writers.mayNotMeet(task, other) && !this.#isGivenUp(node.id, other)) {
      yield `single writer ${task.serviceName} runs twice: ${task.id} and ${other.id} on ${node.id}`;
      return;
    }
    if (placeOf(other) !== placeOf(task)) return;
    // a node that was given up and is back ends what was given to others as soon as it hears of it
    const wasLost = [node.id, nodeId].some(
      (id) => (this.#lostMs.get(id) ?? Number.NEGATIVE_INFINITY) + RETURN_MS > this.#clock.nowMs(),
    );
    if (wasLost || this.#overlapping.has(task.serviceId)) return;
    yield `${task.serviceName}.${task.slot} runs twice: ${task.id} and ${other.id} on ${node.id}`;
  }
}

function* sharedAddresses(nodeId: string, other: AssignedTask, task: AssignedTask): Generator<string> {
  for (const { networkId, address } of task.networks) {
    if (other.networks.some((each) => each.networkId === networkId && each.address === address))
      yield `address ${address} is of ${task.id} and of ${other.id} on ${nodeId}`;
  }
}

function* sharedPorts(nodeId: string, other: AssignedTask, task: AssignedTask): Generator<string> {
  for (const { PublishedPort = 0 } of task.hostPorts) {
    if (PublishedPort !== 0 && other.hostPorts.some((port) => port.PublishedPort === PublishedPort))
      yield `port ${PublishedPort} of ${nodeId} is of ${task.id} and of ${other.id}`;
  }
}

function placeOf(task: AssignedTask): string {
  return task.slot === 0 ? task.nodeId : String(task.slot);
}
