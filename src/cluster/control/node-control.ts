import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import { invalid } from '#model/errors.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';
import type { NodeRecord, NodeSpec } from '#model/node.ts';
import { noSuch, outOfSequence } from './control-errors.ts';
import type { ControlPorts } from './control-ports.ts';
import type { RecordWriter } from './record-writer.ts';
import { nodeId } from './task-control.ts';

/** A node as clients see it. */
export interface NodeEntry extends Versioned<NodeRecord> {
  readonly isLeader: boolean;
}

/** Nodes as Docker's API asks for them. */
export class NodeControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  /** By ID, host name or the beginning of an ID; `self` is this node. */
  inspect(reference: string): NodeEntry {
    const { view } = this.#ports.follower;
    return this.#entry(view, this.#find(view, reference));
  }

  /** Filters: `id` and `name` by their beginnings, `label` (the engine's), `node.label`, `membership`, `role`. */
  list(filters: Filters): NodeEntry[] {
    const { view } = this.#ports.follower;
    checkFilters(filters);
    return [...view.all('node')]
      .filter((node) => matches(node, filters))
      .map((node) => this.#entry(view, node));
  }

  /** What a person says of a node: role, availability, labels. `invalid` for the demotion of the last manager. */
  async update(reference: string, o: { version: number; spec: NodeSpec }): Promise<void> {
    await this.#writer.write((view) => {
      const node = this.#find(view, reference);
      if (node.Spec.Role === 'manager' && o.spec.Role === 'worker' && isLastManager(view, node))
        throw invalid('attempting to demote the last manager of the swarm', {
          hint: 'Promote another one first, and wait until `docker node ls` says that it is reachable.',
        });
      if (view.revisionOf('node', node.ID) !== o.version) throw outOfSequence();
      const put = { ...node, Spec: o.spec, UpdatedAt: this.#now() };
      return { writes: [{ table: 'node', put }], result: undefined };
    });
  }

  /** Only of one that is down, unless `force`; never of a manager. It cannot come back with its certificate. */
  async remove(reference: string, o: { force: boolean }): Promise<void> {
    await this.#writer.write((view) => {
      const { ID, Spec, Status, ManagerStatus } = this.#find(view, reference);
      if (Spec.Role === 'manager' || ManagerStatus !== undefined) {
        throw invalid(
          `node ${ID} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
        );
      }
      if (!o.force && Status.State === 'ready') throw invalid(`node ${ID} is not down and can't be removed`);
      return { writes: [{ table: 'node', delete: ID }], result: undefined };
    });
  }

  /** The number of nodes, and of those that manage. */
  count(): { nodes: number; managers: number } {
    const { view } = this.#ports.follower;
    return { nodes: view.count('node'), managers: managers(view) };
  }

  #find(view: ClusterView, reference: string): NodeRecord {
    const node = view.get('node', nodeId(view, reference, this.#ports.nodeId));
    if (node === undefined) throw noSuch('node', reference);
    return node;
  }

  #entry(view: ClusterView, record: NodeRecord): NodeEntry {
    return {
      record,
      revision: view.revisionOf('node', record.ID),
      isLeader: this.#ports.leader() === record.ID,
    };
  }

  #now(): string {
    return new Date(this.#ports.clock.nowMs()).toISOString();
  }
}

function managers(view: ClusterView): number {
  let count = 0;
  for (const { Spec } of view.all('node')) if (Spec.Role === 'manager') count++;
  return count;
}

/** Those that were promoted and do not manage yet cannot go on without it. */
function isLastManager(view: ClusterView, { ID }: NodeRecord): boolean {
  for (const { ID: other, Spec, ManagerStatus } of view.all('node'))
    if (other !== ID && Spec.Role === 'manager' && ManagerStatus !== undefined) return false;
  return true;
}

function checkFilters(filters: Filters): void {
  for (const role of filters['role'] ?? []) {
    if (role !== 'worker' && role !== 'manager') throw invalid(`Invalid role filter: '${role}'`);
  }
  for (const membership of filters['membership'] ?? []) {
    if (membership !== 'accepted' && membership !== 'pending')
      throw invalid(`Invalid membership filter: '${membership}'`);
  }
}

function matches(node: NodeRecord, filters: Filters): boolean {
  const some = (key: string, test: (value: string) => boolean): boolean =>
    filters[key] === undefined || filters[key].length === 0 || filters[key].some(test);
  const name = node.Spec.Name ?? node.Description?.Hostname ?? '';
  return (
    some('id', (prefix) => node.ID.startsWith(prefix)) &&
    some('name', (prefix) => name.startsWith(prefix)) &&
    some('role', (role) => node.Spec.Role === role) &&
    // a node without a certificate has no record: all are accepted
    some('membership', (membership) => membership === 'accepted') &&
    matchesLabels(filters, node.Description?.Engine.Labels ?? {}) &&
    matchesLabels({ label: filters['node.label'] ?? [] }, node.Spec.Labels ?? {})
  );
}
