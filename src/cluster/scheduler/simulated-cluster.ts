import { ClusterView, recordKey } from '#cluster/state/cluster-view.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type {
  NodeAvailability,
  NodeDescription,
  NodeEncryption,
  NodeRecord,
  NodeRole,
  NodeState,
} from '#model/node.ts';
import type { PortConfig, ServiceMode, ServiceRecord, ServiceRevision } from '#model/service.ts';
import type { TaskRecord, TaskState } from '#model/task.ts';
import type { GenericResource, Placement, TaskMount } from '#model/task-spec.ts';
import type { PlacementStrategy } from './candidate.ts';
import { Scheduler } from './scheduler.ts';
import { isSingleWriter } from './single-writer.ts';

const GIB = 2 ** 30;

export interface SimulatedNode {
  readonly cpus?: number;
  readonly memoryGib?: number;
  readonly generic?: GenericResource[];
  readonly labels?: Record<string, string>;
  readonly engineLabels?: Record<string, string>;
  readonly role?: NodeRole;
  readonly availability?: NodeAvailability;
  readonly state?: NodeState;
  readonly address?: string;
  readonly arch?: string;
  readonly images?: string[];
  readonly volumes?: string[];
  readonly encryption?: NodeEncryption;
}

export interface SimulatedService {
  readonly cpus?: number;
  readonly memoryGib?: number;
  readonly generic?: GenericResource[];
  readonly placement?: Placement;
  readonly mounts?: TaskMount[];
  readonly ports?: PortConfig[];
  readonly labels?: Record<string, string>;
  readonly mode?: ServiceMode;
  readonly revision?: number;
  /** IDs. */
  readonly networks?: readonly string[];
}

/** 4 CPUs and 8 GiB, ready and active, where nothing is said. */
export function simulatedNode(id: string, now: string, o: SimulatedNode = {}): NodeRecord {
  const Description: NodeDescription = {
    Hostname: `host-${id}`,
    Platform: { Architecture: o.arch ?? 'x86_64', OS: 'linux' },
    Resources: {
      NanoCPUs: (o.cpus ?? 4) * 1e9,
      MemoryBytes: (o.memoryGib ?? 8) * GIB,
      ...(o.generic === undefined ? {} : { GenericResources: o.generic }),
    },
    Engine: { EngineVersion: '1', Labels: o.engineLabels ?? {}, Plugins: [] },
    images: o.images ?? [],
    volumes: o.volumes ?? [],
    ...(o.encryption === undefined ? {} : { encryption: o.encryption }),
  };
  return {
    ...{ ID: id, CreatedAt: now, UpdatedAt: now },
    Spec: { Role: o.role ?? 'worker', Availability: o.availability ?? 'active', Labels: o.labels ?? {} },
    Description,
    Status: { State: o.state ?? 'ready', since: now, Addr: o.address ?? '10.0.0.1' },
    address: `${o.address ?? '10.0.0.1'}:2377`,
  };
}

/** A service with its revision. Tasks that fail are replaced at once. */
export function simulatedService(
  id: string,
  now: string,
  o: SimulatedService = {},
): { service: ServiceRecord; revision: ServiceRevision } {
  const number = o.revision ?? 1;
  const Reservations = {
    NanoCPUs: (o.cpus ?? 0) * 1e9,
    MemoryBytes: (o.memoryGib ?? 0) * GIB,
    ...(o.generic === undefined ? {} : { GenericResources: o.generic }),
  };
  const template = {
    ContainerSpec: { Image: `${id}:latest`, Mounts: o.mounts ?? [] },
    Resources: { Reservations },
    Placement: o.placement ?? {},
    Networks: (o.networks ?? []).map((Target) => ({ Target })),
    RestartPolicy: { Delay: 0 },
  };
  const times = { CreatedAt: now, UpdatedAt: now };
  const Mode = o.mode ?? { Replicated: { Replicas: 1 } };
  return {
    revision: {
      ...{ ...times, ID: `${id}.${number}`, serviceId: id, number, template },
      endpoint: { Ports: o.ports ?? [] },
    },
    service: {
      ...{ ...times, ID: id, revision: number, Endpoint: {} },
      Spec: { Name: id, TaskTemplate: template, Mode, Labels: o.labels ?? {} },
    },
  };
}

/** A cluster without a store: commits go straight into the view and to the scheduler. For tests and benchmarks. */
export class SimulatedCluster {
  readonly view: ClusterView = new ClusterView();
  readonly scheduler: Scheduler = new Scheduler();
  nowMs: number = Date.parse('2030-01-01T00:00:00Z');
  #tasks = 0;

  get now(): string {
    return new Date(this.nowMs).toISOString();
  }

  /** Commits, and lets the scheduler see it; gives what changed. */
  apply(writes: readonly Write[]): ViewChange[] {
    const changes = this.commit(writes);
    for (const change of changes) this.scheduler.observe(change);
    return changes;
  }

  /** Commits, unseen by the scheduler: it has to see what changed before it decides again. */
  commit(writes: readonly Write[]): ViewChange[] {
    const revision = this.view.revision + 1;
    return this.view.apply({
      revision,
      changes: writes.map((write) => {
        const key = recordKey(write.table, 'put' in write ? write.put.ID : write.delete);
        return 'put' in write
          ? { kind: 'put', entry: { key, value: JSON.stringify(write.put), revision } }
          : { kind: 'delete', key, revision };
      }),
    });
  }

  /** Makes a node, or makes it another. */
  node(id: string, o: SimulatedNode = {}): void {
    this.apply([{ table: 'node', put: simulatedNode(id, this.now, o) }]);
  }

  nodeDown(id: string): void {
    const node = this.view.get('node', id);
    if (node === undefined) return;
    this.apply([{ table: 'node', put: { ...node, Status: { ...node.Status, State: 'down' } } }]);
  }

  /** Makes a service with its revision, and no tasks. */
  service(id: string, o: SimulatedService = {}): void {
    const { service, revision } = simulatedService(id, this.now, o);
    this.apply([
      { table: 'revision', put: revision },
      { table: 'service', put: service },
    ]);
  }

  /** Makes pending tasks of a service, each in a slot of its own where none is given; gives their IDs. */
  tasks(serviceId: string, count = 1, o: Partial<TaskRecord> = {}): string[] {
    const service = this.view.get('service', serviceId);
    const revision = service?.revision ?? 1;
    // as the orchestrator makes them
    const isFenced = service !== undefined && isSingleWriter(service, service.Spec.TaskTemplate);
    const writes = Array.from({ length: count }, (): { table: 'task'; put: TaskRecord } => {
      this.#tasks += 1;
      const put: TaskRecord = {
        ID: `task${String(this.#tasks).padStart(8, '0')}`,
        CreatedAt: this.now,
        UpdatedAt: this.now,
        ServiceID: serviceId,
        attempt: 1,
        Slot: this.#tasks,
        NodeID: '',
        DesiredState: 'running',
        Status: { Timestamp: this.now, State: 'pending', Message: 'pending task scheduling' },
        revision,
        networks: [],
        ...(isFenced ? { fenced: true as const } : {}),
        ...o,
      };
      return { table: 'task', put };
    });
    this.apply(writes);
    return writes.map(({ put }) => put.ID);
  }

  task(id: string): TaskRecord {
    const task = this.view.get('task', id);
    if (task === undefined) throw new Error(`no task ${id}`);
    return task;
  }

  /** Writes other fields of a task. */
  change(id: string, fields: Partial<TaskRecord>): void {
    this.apply([{ table: 'task', put: { ...this.task(id), ...fields } }]);
  }

  /** What a task's agent says of it. */
  report(id: string, state: TaskState, more: Partial<TaskRecord['Status']> = {}): void {
    const { Status } = this.task(id);
    this.change(id, { Status: { ...Status, State: state, Timestamp: this.now, ...more } });
  }

  remove(id: string): void {
    this.apply([{ table: 'task', delete: id }]);
  }

  /** What the scheduler would write. Nothing is committed. */
  decide(limit = 1000, strategy: PlacementStrategy = 'spread'): Write[] {
    return this.scheduler.decide(this.view, { nowMs: this.nowMs, limit, strategy }).writes;
  }

  /** Decides and commits until there is nothing to decide; gives how many writes there were. */
  settle(strategy: PlacementStrategy = 'spread', limit = 1000): number {
    let writes = 0;
    for (;;) {
      const decided = this.decide(limit, strategy);
      if (decided.length === 0) return writes;
      writes += decided.length;
      this.apply(decided);
    }
  }

  /** The nodes of tasks, in the order of these. */
  nodesOf(ids: readonly string[]): string[] {
    return ids.map((id) => this.task(id).NodeID);
  }

  /** How many tasks that are wanted each node has of a service; nodes without any are left out. */
  spreadOf(serviceId: string): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { NodeID, DesiredState } of this.view.tasksOfService(serviceId)) {
      if (NodeID !== '' && DesiredState === 'running') counts[NodeID] = (counts[NodeID] ?? 0) + 1;
    }
    return counts;
  }
}
