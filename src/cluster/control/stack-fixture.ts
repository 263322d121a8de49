import { Deployments } from '#cluster/controllers/deployments.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import { STACK_LABEL, type StackRequest, type StackService } from '#model/stack.ts';
import type { TaskRecord, TaskState } from '#model/task.ts';
import type { ClusterControl } from './cluster-control.ts';
import { controlOver, FIRST_NODE, type FollowedStore, oneNodeSwarm } from './control-fixture.ts';
import type { ControlPorts } from './control-ports.ts';

const NOW = '2026-01-02T00:00:00.000Z';

/** For tests: a service of the stack `shop`. */
export function stackService(
  key: string,
  o: { image?: string; dependsOn?: StackService['dependsOn']; spec?: Partial<ServiceSpec> } = {},
): StackService {
  const image = o.image ?? `${key}:1`;
  return {
    key,
    dependsOn: o.dependsOn ?? {},
    spec: {
      Name: `shop_${key}`,
      Labels: { [STACK_LABEL.namespace]: 'shop', [STACK_LABEL.image]: image },
      TaskTemplate: {
        ContainerSpec: { Image: image },
        Networks: [{ Target: 'shop_default', Aliases: [key] }],
      },
      Mode: { Replicated: { Replicas: 1 } },
      ...o.spec,
    },
  };
}

/** For tests: the stack `shop` of these services, on one network. */
export function stackOfServices(...services: StackService[]): StackRequest {
  const network = {
    name: 'shop_default',
    external: false,
    Labels: { [STACK_LABEL.namespace]: 'shop' },
    Options: {},
    Internal: false,
    Attachable: false,
  };
  return { name: 'shop', networks: [network], secrets: [], configs: [], services };
}

/** For tests: a cluster whose leader does nothing but deploy stacks; what becomes of services the test says. */
export class StackWorld {
  readonly store: FollowedStore;
  readonly control: ClusterControl;
  readonly #deployments = new Deployments({ fits: () => true });
  readonly #following: Disposable;
  #tasks = 0;

  static async made(ports: Partial<ControlPorts> = {}): Promise<StackWorld> {
    return new StackWorld(await oneNodeSwarm(), ports);
  }

  private constructor(store: FollowedStore, ports: Partial<ControlPorts>) {
    this.store = store;
    this.control = controlOver(store, ports);
    this.#following = store.subscribe((changes) => {
      for (const change of changes) for (const _key of this.#deployments.keysOf(change, store.view));
    });
  }

  [Symbol.dispose](): void {
    this.#following[Symbol.dispose]();
  }

  /** Lets the leader deploy until it has nothing to write. */
  async settle(stack = 'shop'): Promise<void> {
    for (let round = 0; round < 100; round++) {
      const random = { below: () => 0, id: () => this.store.nextId() };
      const context = { nowMs: Date.parse(NOW) + round, random, limit: 60 };
      const { writes } = this.#deployments.reconcile(this.store.view, stack, context);
      if (writes.length === 0) return;
      await this.store.write(...writes);
    }
    throw new Error('the deployment does not come to an end');
  }

  service(key: string): ServiceRecord | undefined {
    return this.store.view.named('service', `shop_${key}`);
  }

  /** The images of the services that are there. */
  get running(): Record<string, string> {
    const services = [...this.store.view.all('service')].filter(({ removing }) => removing !== true);
    const images = services.map(({ Spec }) => [Spec.Name, Spec.TaskTemplate.ContainerSpec.Image] as const);
    return Object.fromEntries(images.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Gives a service tasks in this state at its present revision in place of those that it had, and what it asked to publish. */
  async tasks(key: string, State: TaskState): Promise<void> {
    const service = this.service(key);
    if (service === undefined) throw new Error(`there is no service ${key}`);
    const { EndpointSpec, Mode } = service.Spec;
    const count = Mode?.Replicated?.Replicas ?? Mode?.ReplicatedJob?.TotalCompletions ?? 1;
    const old = [...this.store.view.tasksOfService(service.ID)];
    const isOver = State === 'failed' || State === 'complete';
    const tasks = Array.from({ length: count }, (_, index): TaskRecord => {
      this.#tasks += 1;
      return {
        ID: `task${this.#tasks}`,
        CreatedAt: NOW,
        UpdatedAt: NOW,
        ServiceID: service.ID,
        Slot: index + 1,
        attempt: this.#tasks,
        NodeID: FIRST_NODE.ID,
        DesiredState: isOver ? 'shutdown' : 'running',
        Status: { Timestamp: NOW, State, Message: '', ...(State === 'failed' ? { Err: 'exit 1' } : {}) },
        revision: service.revision,
        networks: [],
        ...(service.JobStatus === undefined ? {} : { JobIteration: service.JobStatus.JobIteration }),
      };
    });
    const Endpoint =
      EndpointSpec === undefined ? {} : { Spec: EndpointSpec, Ports: EndpointSpec.Ports ?? [] };
    await this.store.write(
      { table: 'service', put: { ...service, Endpoint } },
      ...old.map(({ ID }) => ({ table: 'task' as const, delete: ID })),
      ...tasks.map((put) => ({ table: 'task' as const, put })),
    );
  }

  /** Deploys, and lets every service run as soon as it is there. */
  async deployed(stack: StackRequest): Promise<void> {
    await this.control.releases.deploy({ stack, resolveImage: 'always' });
    for (let wave = 0; wave <= stack.services.length; wave++) {
      await this.settle();
      for (const { key, spec } of stack.services) {
        if (this.service(key) === undefined) continue;
        await this.tasks(key, spec.Mode?.ReplicatedJob === undefined ? 'running' : 'complete');
      }
    }
    await this.settle();
  }
}
