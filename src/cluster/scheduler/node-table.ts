import { hasFailed, isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ServiceRevision } from '#model/service.ts';
import { stateRank, type TaskRecord } from '#model/task.ts';
import { FailureLog } from './failure-log.ts';
import { type Footprint, NodeLoad } from './node-load.ts';
import { NO_REQUIREMENTS, requirementsOf, type TaskRequirements } from './task-requirements.ts';
import { TouchedNodes } from './touched-nodes.ts';

const ASSIGNED = stateRank('assigned');
const COMPLETE = stateRank('complete');

/** A revision, kept as long as it is there or a task on a node is made of it. */
interface KnownRevision {
  readonly requirements: TaskRequirements;
  tasks: number;
  gone: boolean;
}

/**
 * What the tasks of a cluster hold of its nodes, followed change by change: each costs O(1), however many nodes and tasks there are.
 * A task holds its share from `assigned` until it is over, also while it is being shut down; it counts as one of its service's tasks
 * only while it is wanted.
 */
export class NodeTable {
  readonly failures: FailureLog = new FailureLog();
  readonly touched: TouchedNodes = new TouchedNodes();
  readonly #loads = new Map<string, NodeLoad>();
  /** Those that have a record. */
  readonly #nodes = new Set<NodeLoad>();
  readonly #freeSlots: number[] = [];
  #slots = 0;
  #versions = 0;
  readonly #revisions = new Map<string, KnownRevision>();
  /** Tasks that came before their revision did, by its ID. */
  readonly #early = new Map<string, Map<string, TaskRecord>>();
  readonly #tasksOfService = new Map<string, Map<NodeLoad, number>>();
  readonly #encryptedNetworks = new Set<string>();

  /** What the tasks of a view hold, looked at once. Costs a look at all of them. */
  static of(view: ClusterView): NodeTable {
    const table = new NodeTable();
    for (const name of ['network', 'node', 'revision', 'task'] as const)
      for (const after of view.all(name))
        table.observe({ table: name, id: after.ID, before: undefined, after } as ViewChange);
    return table;
  }

  get nodes(): ReadonlySet<NodeLoad> {
    return this.#nodes;
  }

  /** All slots are below this. */
  get slots(): number {
    return this.#slots;
  }

  node(id: string): NodeLoad | undefined {
    return this.#loads.get(id);
  }

  requirements(revisionId: string): TaskRequirements | undefined {
    return this.#revisions.get(revisionId)?.requirements;
  }

  /** How many wanted tasks of a service are on which node; nodes without any are left out. */
  tasksOf(serviceId: string): ReadonlyMap<NodeLoad, number> {
    return this.#tasksOfService.get(serviceId) ?? NO_TASKS;
  }

  observe(change: ViewChange): void {
    if (change.table === 'task') this.#observeTask(change.before, change.after);
    else if (change.table === 'node') this.#observeNode(change.id, change.after);
    else if (change.table === 'network')
      this.#observeNetwork(change.id, change.after?.EncryptedOption === true);
    else if (change.table === 'revision') this.#observeRevision(change.id, change.after);
  }

  /** Takes a share of a node, or gives it back. Who does so for a trial undoes it himself. */
  account(node: NodeLoad, footprint: Footprint, sign: 1 | -1): void {
    node.account(footprint, sign);
    if (!footprint.counted) return;
    const counts = this.#tasksOfService.get(footprint.serviceId) ?? new Map<NodeLoad, number>();
    const count = (counts.get(node) ?? 0) + sign;
    if (count === 0) counts.delete(node);
    else counts.set(node, count);
    if (counts.size === 0) this.#tasksOfService.delete(footprint.serviceId);
    else this.#tasksOfService.set(footprint.serviceId, counts);
  }

  #observeTask(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const failedBefore = before !== undefined && hasFailed(before);
    if (after !== undefined && after.NodeID !== '' && hasFailed(after) && !failedBefore) {
      const atMs = Date.parse(after.Status.Timestamp);
      this.failures.note({ atMs, revisionId: revisionIdOf(after), nodeId: after.NodeID });
    }
    const held = before !== undefined && holdsShare(before) ? before : undefined;
    const holds = after !== undefined && holdsShare(after) ? after : undefined;
    if (held !== undefined && holds !== undefined && hasSameShare(held, holds)) return;
    if (held !== undefined) this.#release(held);
    if (holds !== undefined) this.#hold(holds);
  }

  #hold(task: TaskRecord): void {
    const revisionId = revisionIdOf(task);
    const revision = this.#revisions.get(revisionId);
    if (revision === undefined) {
      const early = this.#early.get(revisionId) ?? new Map<string, TaskRecord>();
      this.#early.set(revisionId, early.set(task.ID, task));
    } else revision.tasks += 1;
    this.account(this.#loadOf(task.NodeID), footprintOf(task, revision?.requirements), 1);
  }

  #release(task: TaskRecord): void {
    const revisionId = revisionIdOf(task);
    const revision = this.#revisions.get(revisionId);
    const node = this.#loadOf(task.NodeID);
    this.account(node, footprintOf(task, revision?.requirements), -1);
    this.touched.add(node);
    this.#forgetEmpty(node);
    if (revision === undefined) {
      const early = this.#early.get(revisionId);
      early?.delete(task.ID);
      if (early?.size === 0) this.#early.delete(revisionId);
      return;
    }
    revision.tasks -= 1;
    if (revision.gone && revision.tasks === 0) this.#revisions.delete(revisionId);
  }

  #observeNode(id: string, record: NodeRecord | undefined): void {
    const node = this.#loadOf(id);
    this.#versions += 1;
    node.setRecord(record, this.#versions);
    this.touched.add(node);
    if (record === undefined) this.#nodes.delete(node);
    else this.#nodes.add(node);
    this.#forgetEmpty(node);
  }

  /** A network is there before the revisions that name it, and never changes in this. */
  #observeNetwork(id: string, isEncrypted: boolean): void {
    if (isEncrypted) this.#encryptedNetworks.add(id);
    else this.#encryptedNetworks.delete(id);
  }

  #observeRevision(id: string, record: ServiceRevision | undefined): void {
    const known = this.#revisions.get(id);
    if (record === undefined) {
      if (known !== undefined && known.tasks > 0) known.gone = true;
      else this.#revisions.delete(id);
      return;
    }
    if (known !== undefined) {
      // a revision never changes
      known.gone = false;
      return;
    }
    const early = [...(this.#early.get(id)?.values() ?? [])];
    for (const task of early) this.#release(task);
    const requirements = requirementsOf(record, (network) => this.#encryptedNetworks.has(network));
    this.#revisions.set(id, { requirements, tasks: 0, gone: false });
    for (const task of early) this.#hold(task);
  }

  #loadOf(id: string): NodeLoad {
    const known = this.#loads.get(id);
    if (known !== undefined) return known;
    let slot = this.#freeSlots.pop();
    if (slot === undefined) {
      slot = this.#slots;
      this.#slots += 1;
    }
    this.#versions += 1;
    const load = new NodeLoad(id, slot);
    load.version = this.#versions;
    this.#loads.set(id, load);
    return load;
  }

  #forgetEmpty(node: NodeLoad): void {
    if (node.record !== undefined || node.held > 0) return;
    this.#loads.delete(node.id);
    this.#freeSlots.push(node.slot);
  }
}

const NO_TASKS: ReadonlyMap<NodeLoad, number> = new Map();

/** The ID of the revision that a task is made of. */
export function revisionIdOf(task: Pick<TaskRecord, 'ServiceID' | 'revision'>): string {
  return `${task.ServiceID}.${task.revision}`;
}

/** What a task takes of its node. */
export function footprintOf(task: TaskRecord, requirements: TaskRequirements | undefined): Footprint {
  return {
    serviceId: task.ServiceID,
    requirements: requirements ?? NO_REQUIREMENTS,
    generic: task.AssignedGenericResources ?? [],
    counted: isWanted(task),
  };
}

/** A task of a global service names its node before it was checked that it fits there: until then it holds nothing. */
export function holdsShare({ NodeID, Status }: TaskRecord): boolean {
  const rank = stateRank(Status.State);
  return NodeID !== '' && rank >= ASSIGNED && rank < COMPLETE;
}

function hasSameShare(a: TaskRecord, b: TaskRecord): boolean {
  if (a.NodeID !== b.NodeID || a.revision !== b.revision || isWanted(a) !== isWanted(b)) return false;
  const [before, after] = [a.AssignedGenericResources ?? [], b.AssignedGenericResources ?? []];
  if (before.length === 0 && after.length === 0) return true;
  return JSON.stringify(before) === JSON.stringify(after);
}
