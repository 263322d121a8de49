import assert from 'node:assert/strict';
import type { NodeRole } from '#model/node.ts';
import type { ServiceSpec } from '#model/service.ts';
import type { TaskRecord } from '#model/task.ts';
import { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedNode } from './simulated-node.ts';

/** Three managers, three workers and a service `db` with one task on a worker; nothing happens but what the test says. */
export class Story implements Disposable {
  readonly cluster: SimulatedCluster;

  static async begun(seed: number, spec: Partial<ServiceSpec> = {}): Promise<Story> {
    const story = new Story(seed);
    const { cluster } = story;
    for (const node of cluster.nodes) node.start();
    await story.pass(5000);
    const TaskTemplate = {
      ContainerSpec: { Image: 'good:1' },
      Placement: { Constraints: ['node.role == worker'] },
      RestartPolicy: { Delay: 0 },
    };
    const made = { Name: 'db', Mode: { Replicated: { Replicas: 1 } }, TaskTemplate, ...spec };
    await story.ask((control) => control.services.create({ spec: made }));
    await story.pass(5000);
    assert.equal(story.running.length, 1);
    return story;
  }

  private constructor(seed: number) {
    this.cluster = new SimulatedCluster(
      seed,
      { managers: 3, workers: 3 },
      { isCalm: false, onTrace: () => undefined },
    );
  }

  [Symbol.dispose](): void {
    this.cluster[Symbol.dispose]();
  }

  get running(): SimulatedNode[] {
    return this.cluster.nodes.filter(({ engine }) => engine.running.length > 0);
  }

  get where(): SimulatedNode {
    const [node] = this.running;
    assert.ok(node);
    return node;
  }

  get waiting(): TaskRecord | undefined {
    return [...this.cluster.truth.all('task')].find((task) => task.waiting !== undefined);
  }

  pass(ms: number): Promise<void> {
    return this.cluster.runUntil(this.cluster.clock.nowMs() + ms);
  }

  cutOff(node: SimulatedNode): void {
    for (const other of this.cluster.nodes)
      if (other !== node) this.cluster.network.partition([node.id], [other.id]);
  }

  async ask(
    request: (control: NonNullable<SimulatedNode['access']>['control']) => Promise<unknown>,
  ): Promise<void> {
    const { control } = this.cluster.nodes.find(({ isLeader }) => isLeader)?.access ?? {};
    assert.ok(control);
    let isDone = false;
    const asked = request(control).finally(() => {
      isDone = true;
    });
    // what it rejects with is thrown below
    asked.catch(() => undefined);
    while (!isDone) await this.pass(10);
    await asked;
  }

  async update(change: (spec: ServiceSpec) => ServiceSpec): Promise<void> {
    await this.ask(async (control) => {
      const { record, revision } = control.services.inspect('db');
      await control.services.update('db', { version: revision, spec: change(record.Spec) });
    });
  }

  async setRole(nodeId: string, Role: NodeRole): Promise<void> {
    await this.ask(async (control) => {
      const { record, revision } = control.nodes.inspect(nodeId);
      await control.nodes.update(nodeId, { version: revision, spec: { ...record.Spec, Role } });
    });
  }

  node(id: string): SimulatedNode {
    const node = this.cluster.nodes.find((each) => each.id === id);
    assert.ok(node);
    return node;
  }

  /** Those that are managers by their records, and act as such. */
  get managers(): string[] {
    return [...this.cluster.truth.all('node')]
      .filter(({ ManagerStatus }) => ManagerStatus !== undefined)
      .map(({ ID }) => ID)
      .sort();
  }
}
