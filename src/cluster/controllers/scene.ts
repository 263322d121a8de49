import { firstSwarm } from '#cluster/control/swarm-spec.ts';
import { ClusterView, recordKey } from '#cluster/state/cluster-view.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ServiceRecord, ServiceRevision, ServiceSpec } from '#model/service.ts';
import type { SwarmSpec } from '#model/swarm.ts';
import type { TaskRecord, TaskState } from '#model/task.ts';
import type { TaskRestartPolicy, TaskSpec } from '#model/task-spec.ts';
import type { Controller, Decision, DecisionContext } from './controller.ts';

/** 2030-01-01T00:00:00Z: when a scene begins. */
export const START_MS = 1_893_456_000_000;

/** For tests: a view in which a story is told, and a controller that is asked about it. */
export class Scene {
  readonly view: ClusterView = new ClusterView();
  nowMs: number = START_MS;
  #revision = 0;
  #ids = 0;

  constructor(...writes: readonly (Write | readonly Write[])[]) {
    this.happens(...writes);
  }

  /** Records become so; gives what the view saw change. */
  happens(...writes: readonly (Write | readonly Write[])[]): ViewChange[] {
    this.#revision += 1;
    const revision = this.#revision;
    const changes = writes.flat().map((write) =>
      'put' in write
        ? {
            kind: 'put' as const,
            entry: { key: recordKey(write.table, write.put.ID), value: JSON.stringify(write.put), revision },
          }
        : { kind: 'delete' as const, key: recordKey(write.table, write.delete), revision },
    );
    return this.view.apply({ revision, changes });
  }

  context(limit = 1000): DecisionContext {
    const random = { below: () => 0, id: () => `new${++this.#ids}` };
    return { nowMs: this.nowMs, random, limit };
  }

  /** What the controller says now, and that it comes to be. */
  decides(controller: Pick<Controller, 'reconcile'>, key = 'web', limit?: number): Decision {
    const decision = controller.reconcile(this.view, key, this.context(limit));
    if (decision.writes.length > 0) this.happens(decision.writes);
    return decision;
  }

  task(id: string): TaskRecord {
    const task = this.view.get('task', id);
    if (task === undefined) throw new Error(`the scene has no task ${id}`);
    return task;
  }

  service(id = 'web'): ServiceRecord {
    const service = this.view.get('service', id);
    if (service === undefined) throw new Error(`the scene has no service ${id}`);
    return service;
  }

  /** A task's node says what became of it, now. */
  reports(id: string, State: TaskState): void {
    const task = this.task(id);
    const Timestamp = new Date(this.nowMs).toISOString();
    const startedAt = task.Status.startedAt ?? (State === 'running' ? Timestamp : undefined);
    const Status = { State, Timestamp, Message: State, ...(startedAt === undefined ? {} : { startedAt }) };
    this.happens({ table: 'task', put: { ...task, Status } });
  }
}

/** Each write as a sentence: `t1 is to shutdown`, `new web.1 r2 is to ready`, `web is updating`, `t1 goes`. */
export function said({ writes }: Decision): string[] {
  return writes.map((write) => {
    if ('delete' in write) return `${write.delete} goes`;
    switch (write.table) {
      case 'task': {
        const { ID, ServiceID, Slot, NodeID, revision, DesiredState, Status, waiting } = write.put;
        if (waiting !== undefined) return `${ID} waits: ${waiting.reason}`;
        if (Status.State === 'orphaned') return `${ID} is orphaned`;
        const place = `${ServiceID}.${Slot === 0 ? NodeID : Slot}`;
        return ID.startsWith('new') && !['shutdown', 'remove'].includes(DesiredState)
          ? `new ${place} r${revision} is to ${DesiredState}`
          : `${ID} is to ${DesiredState}`;
      }
      case 'service':
        return `${write.put.ID} is ${write.put.UpdateStatus?.State ?? 'changed'}`;
      default:
        return `${write.table} ${write.put.ID}`;
    }
  });
}

const TIMES = {
  CreatedAt: new Date(START_MS).toISOString(),
  UpdatedAt: new Date(START_MS).toISOString(),
};

export function node(
  ID: string,
  o: {
    state?: NodeRecord['Status']['State'];
    availability?: NodeRecord['Spec']['Availability'];
    since?: string;
  } = {},
): Write {
  const put: NodeRecord = {
    ...TIMES,
    ID,
    Spec: { Role: 'worker', Availability: o.availability ?? 'active', Labels: {} },
    Status: { State: o.state ?? 'ready', since: o.since ?? TIMES.CreatedAt, Addr: ID },
    address: ID,
  };
  return { table: 'node', put };
}

/** The service `web` with its present revision. Restarts come at once unless `restart` says otherwise. */
export function service(
  o: Partial<Omit<ServiceRecord, 'Spec'>> & {
    spec?: Partial<ServiceSpec>;
    replicas?: number;
    restart?: TaskRestartPolicy;
    template?: Partial<TaskSpec>;
  } = {},
): Write[] {
  const { spec, replicas, restart, template, ...rest } = o;
  const TaskTemplate: TaskSpec = {
    ContainerSpec: { Image: 'busybox' },
    RestartPolicy: { Delay: 0, ...restart },
    ...template,
  };
  const put: ServiceRecord = {
    ...TIMES,
    ID: 'web',
    revision: 1,
    Endpoint: {},
    ...rest,
    Spec: {
      Name: rest.ID ?? 'web',
      Mode: { Replicated: { Replicas: replicas ?? 1 } },
      TaskTemplate,
      ...spec,
    },
  };
  const made: ServiceRevision = {
    ...TIMES,
    ID: `${put.ID}.${put.revision}`,
    serviceId: put.ID,
    number: put.revision,
    template: put.Spec.TaskTemplate,
    ...(put.Spec.EndpointSpec === undefined ? {} : { endpoint: put.Spec.EndpointSpec }),
  };
  return [
    { table: 'service', put },
    { table: 'revision', put: made },
  ];
}

/** A task of `web` that has been running on node `a` since the scene began, unless something else is said. */
export function task(
  ID: string,
  o: Partial<Omit<TaskRecord, 'Status'>> & { is?: TaskState; at?: number; startedAt?: number } = {},
): Write {
  const { is = 'running', at = START_MS, startedAt, ...rest } = o;
  const iso = (ms: number): string => new Date(ms).toISOString();
  const begun = startedAt ?? (is === 'running' ? at : undefined);
  const put: TaskRecord = {
    ...TIMES,
    ID,
    ServiceID: 'web',
    Slot: 1,
    attempt: 1,
    NodeID: is === 'new' || is === 'pending' ? '' : 'a',
    DesiredState: 'running',
    revision: 1,
    networks: [],
    ...rest,
    Status: {
      State: is,
      Timestamp: iso(at),
      Message: is,
      ...(begun === undefined ? {} : { startedAt: iso(begun) }),
    },
  };
  return { table: 'task', put };
}

export function network(
  ID: string,
  o: Partial<ClusterNetworkRecord> & { subnet?: string } = {},
): Extract<Write, { table: 'network'; put: unknown }> {
  const { subnet = '10.1.0.0/24', ...rest } = o;
  const put: ClusterNetworkRecord = {
    ...{ ...TIMES, ID, Name: ID, Driver: 'overlay', Labels: {}, Options: {}, Internal: false },
    ...{ Attachable: false, Ingress: false, EncryptedOption: false, vni: 4096 },
    IPAM: { Driver: 'default', Options: null, Config: [{ Subnet: subnet }] },
    ...rest,
  };
  return { table: 'network', put };
}

/** A swarm as it is made, with its ingress network. */
export function swarm(o: { spec?: Partial<SwarmSpec>; rootCertificate?: string } = {}): Write[] {
  const { spec = {}, rootCertificate = '' } = o;
  return firstSwarm({
    ...{
      id: 'swarm',
      ingressId: 'ingress',
      now: '',
      sealedRootKey: '',
      sealedUnlockKey: '',
      rootCertificate,
    },
    ...{ spec, defaultAddrPool: [], subnetSize: 0, dataPathPort: 0 },
    joinTokens: { Worker: '', Manager: '' },
  });
}
