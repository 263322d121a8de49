import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import type { Channel } from '#cluster/transport/transport.ts';
import { ManualClock } from '#control/manual-clock.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeDescription } from '#model/node.ts';
import { Agent } from './agent.ts';
import type { AssignedTask } from './assigned-task.ts';
import { ScriptedEngine } from './scripted-engine.ts';
import { type AgentMessage, type LeaderMessage, SESSION_METHOD } from './session-messages.ts';
import { assignedTask } from './task-builder.ts';

const RANDOM = { below: () => 0, id: () => '' };
const SETTINGS: LeaderMessage = {
  ...{ kind: 'settings', heartbeatMs: 1000, fencingMs: 5000, role: 'worker' },
  managers: ['m1', 'm2'],
};
const PLAN: NetworkPlan = {
  ...{ nodeId: 'w', dataPathAddress: 'w', dataPathPort: 4789 },
  ...{ networks: [], ports: [], ingressNetworkId: undefined },
};

/** An agent that runs, and two managers that say what the test says. */
class Session implements Disposable {
  readonly clock: ManualClock = new ManualClock();
  readonly engine: ScriptedEngine = new ScriptedEngine();
  readonly heard: AgentMessage[] = [];
  readonly visits: string[] = [];
  readonly leases: number[] = [];
  readonly plans: NetworkPlan[] = [];
  description: NodeDescription;
  answersHeartbeats = true;
  redirect: string | undefined;
  leaseError: Error | undefined;
  /** What applying a plan waits for, or fails with. */
  applying: () => Promise<void> = async () => undefined;
  readonly #network: MemoryNetwork;
  readonly #ending = new AbortController();
  #channel: Channel | undefined;

  constructor() {
    this.description = {
      ...{ Hostname: 'w', Platform: { Architecture: 'x86_64', OS: 'linux' } },
      Resources: { NanoCPUs: 1e9, MemoryBytes: 1e9 },
      Engine: { EngineVersion: '1', Labels: {}, Plugins: [] },
    };
    this.#network = new MemoryNetwork({ clock: this.clock, random: RANDOM, report: () => undefined });
    for (const id of ['m1', 'm2']) {
      const manager = this.#network.node(id, { nodeId: id, role: 'manager' });
      manager.serve(SESSION_METHOD, (channel) => this.#serve(id, channel));
    }
    const agent = new Agent({
      transport: this.#network.node('w', { nodeId: 'w', role: 'worker' }),
      ...{ engine: this.engine, clock: this.clock, random: RANDOM, address: 'w', managers: ['m1', 'm2'] },
      networks: {
        apply: async (plan) => {
          await this.applying();
          this.plans.push(plan);
        },
      },
      fence: {
        renew: async (validMs) => {
          this.leases.push(validMs);
          if (this.leaseError !== undefined) throw this.leaseError;
        },
      },
      describe: async () => this.description,
      log: () => undefined,
    });
    void agent.run(this.#ending.signal);
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
  }

  /** Everything that was said of tasks, newest last. */
  get told(): string[] {
    return this.heard.flatMap((message) =>
      message.kind === 'status'
        ? message.updates.map(({ taskId, status }) => `${taskId} ${status.State}`)
        : [],
    );
  }

  async says(...messages: LeaderMessage[]): Promise<void> {
    for (const message of messages) await this.#channel?.send(message);
    await this.pass(50);
  }

  assigns(...tasks: Partial<AssignedTask>[]): Promise<void> {
    const all = tasks.map((task) => ({ ...assignedTask(), ...task }));
    return this.says({ kind: 'tasks', tasks: all, removed: [] });
  }

  breakSession(): void {
    this.#network.breakConnections('w', this.visits.at(-1) ?? '');
  }

  cutOff(): void {
    this.#network.partition(['w'], ['m1', 'm2']);
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  async #serve(id: string, channel: Channel): Promise<void> {
    this.visits.push(id);
    this.#channel = channel;
    if (this.redirect !== undefined && this.redirect !== id) {
      await channel.send({ kind: 'redirect', address: this.redirect });
      return;
    }
    await channel.send(SETTINGS);
    for await (const message of channel.messages) {
      const said = message as AgentMessage;
      if (said.kind !== 'heartbeat') this.heard.push(said);
      else if (this.answersHeartbeats) await channel.send({ kind: 'heartbeat', sent: said.sent });
    }
  }
}

test('it says who it is, runs what it is assigned, and says what became of it', async () => {
  using session = new Session();
  await session.pass(50);
  assert.equal(session.heard[0]?.kind, 'hello');
  await session.assigns({ id: 't1' });
  assert.equal(session.told.at(-1), 't1 running');
});

test('a manager that does not lead sends it to the one that does', async () => {
  using session = new Session();
  session.redirect = 'm2';
  await session.pass(200);
  assert.deepEqual(session.visits.slice(0, 2), ['m1', 'm2']);
  assert.equal(session.heard[0]?.kind, 'hello');
});

test('in each session it tells again what it knows', async () => {
  using session = new Session();
  await session.pass(50);
  await session.assigns({ id: 't1' });
  session.heard.length = 0;
  session.breakSession();
  await session.pass(500);
  assert.deepEqual(session.told, ['t1 running']);
});

test('a manager that does not answer is left', async () => {
  using session = new Session();
  session.answersHeartbeats = false;
  await session.pass(12_000);
  assert.ok(session.visits.length > 1);
});

test('tasks that are deleted are taken away, and in a complete list what is not in it', async () => {
  using session = new Session();
  await session.pass(50);
  session.engine.happens('stray', { state: 'running' });
  await session.assigns({ id: 't1' }, { id: 't2' });
  await session.says({ kind: 'tasks', tasks: [], removed: ['t1'] });
  assert.deepEqual([...session.engine.containers.keys()].sort(), ['stray', 't2']);
  await session.says({ kind: 'complete', taskIds: ['t2'] });
  assert.deepEqual([...session.engine.containers.keys()], ['t2']);
});

test('what could not be taken away is taken away later', async () => {
  using session = new Session();
  await session.pass(50);
  await session.assigns({ id: 't1' });
  session.engine.fail('remove', 1);
  await session.says({ kind: 'tasks', tasks: [], removed: ['t1'] });
  assert.equal(session.engine.containers.size, 1);
  await session.pass(31_000);
  assert.equal(session.engine.containers.size, 0);
});

test('single writers end when no heartbeat was answered for the fencing time, others go on', async () => {
  using session = new Session();
  await session.pass(50);
  await session.assigns({ id: 't1', singleWriter: true }, { id: 't2' });
  session.cutOff();
  await session.pass(4500);
  assert.ok(!session.engine.calls.includes('stop t1'));
  await session.pass(2000);
  assert.deepEqual(
    session.engine.calls.filter((call) => call.startsWith('stop')),
    ['stop t1'],
  );
});

test('each answered heartbeat renews the lease, counted from when it was sent, with a grace', async () => {
  using session = new Session();
  await session.pass(3500);
  assert.ok(session.leases.length >= 3);
  for (const validMs of session.leases) assert.ok(validMs > 5900 && validMs <= 6000, String(validMs));
  session.answersHeartbeats = false;
  const { length } = session.leases;
  await session.pass(3000);
  assert.ok(session.leases.length <= length + 1);
});

test('where nobody keeps the lease, single writers end', async () => {
  using session = new Session();
  await session.pass(50);
  await session.assigns({ id: 't1', singleWriter: true }, { id: 't2' });
  session.leaseError = new Error('no keeper');
  await session.pass(1500);
  assert.deepEqual(
    session.engine.calls.filter((call) => call.startsWith('stop')),
    ['stop t1'],
  );
});

test('a plan is applied before the tasks that come after it, while heartbeats wait for nothing', async () => {
  using session = new Session();
  await session.pass(50);
  const gate = Promise.withResolvers<void>();
  session.applying = () => gate.promise;
  await session.says({ kind: 'networks', revision: 7, plan: PLAN });
  await session.assigns({ id: 't1' });
  const { length } = session.leases;
  await session.pass(3000);
  assert.ok(session.leases.length > length, 'heartbeats are answered');
  assert.deepEqual(session.engine.calls, []);
  gate.resolve();
  await session.pass(50);
  assert.deepEqual(session.engine.calls, ['prepare t1', 'start t1']);
  assert.deepEqual(
    session.heard.filter(({ kind }) => kind === 'applied'),
    [{ kind: 'applied', revision: 7 }],
  );
});

test('a plan that cannot be applied is applied again, and keeps no task waiting', async () => {
  using session = new Session();
  await session.pass(50);
  session.applying = () => Promise.reject(new Error('no such device'));
  await session.says({ kind: 'networks', revision: 7, plan: PLAN });
  await session.assigns({ id: 't1' });
  assert.equal(session.told.at(-1), 't1 running');
  assert.ok(!session.heard.some(({ kind }) => kind === 'applied'));
  session.applying = async () => undefined;
  await session.pass(3000);
  assert.ok(session.heard.some(({ kind }) => kind === 'applied'));
  assert.equal(session.visits.length, 1);
});

test('a session that ended takes nothing away that a newer one assigned', async () => {
  using session = new Session();
  await session.pass(50);
  const gate = Promise.withResolvers<void>();
  const { list } = session.engine;
  session.engine.list = async () => {
    await gate.promise;
    return await list.call(session.engine);
  };
  await session.says({ kind: 'complete', taskIds: [] });
  session.breakSession();
  await session.pass(500);
  await session.assigns({ id: 't1' });
  gate.resolve();
  await session.pass(50);
  assert.deepEqual([...session.engine.containers.keys()], ['t1']);
});

test('a node that is not what it was says so', async () => {
  using session = new Session();
  await session.pass(50);
  session.description = { ...session.description, images: ['busybox'] };
  await session.pass(31_000);
  const [said] = session.heard.filter(({ kind }) => kind === 'description');
  assert.deepEqual(said, { kind: 'description', description: session.description });
});
