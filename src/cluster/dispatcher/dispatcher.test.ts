import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentMessage, LeaderMessage } from '#cluster/agent/session-messages.ts';
import { network, node, Scene, said, service, task } from '#cluster/controllers/scene.ts';
import type { Write } from '#cluster/state/tables.ts';
import { MessageQueue } from '#cluster/transport/message-queue.ts';
import type { Channel } from '#cluster/transport/transport.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { kindOf, unavailable } from '#model/errors.ts';
import type { NodeDescription } from '#model/node.ts';
import type { TaskState } from '#model/task.ts';
import { Dispatcher } from './dispatcher.ts';

const TIMES = { heartbeatMs: 1000, lostAfterMs: 5000, fencingMs: 5000, killMs: 2000, drainMs: 3000 };

/** One end of a channel whose other end is the test: it hears what the leader says, and says what an agent would, or worse. */
class AgentEnd implements Channel {
  readonly heard: LeaderMessage[] = [];
  readonly messages: MessageQueue = new MessageQueue(() => undefined);
  readonly #closed = new AbortController();
  /** Set while it takes nothing. */
  blocked: Promise<void> | undefined;

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  async send(message: unknown): Promise<void> {
    if (this.closed.aborted) throw unavailable('the channel is over');
    await this.blocked;
    this.heard.push(message as LeaderMessage);
  }

  close(): void {
    this.#closed.abort();
    this.messages.end();
  }

  says(message: AgentMessage | object): void {
    this.messages.push(message, 0);
  }

  /** What it was told of tasks: `t1 running`, `t1 removed`, and its networks. */
  get told(): string[] {
    return this.heard.flatMap((message) => {
      if (message.kind === 'tasks')
        return [
          ...message.tasks.map(({ id, desiredState }) => `${id} ${desiredState}`),
          ...message.removed.map((id) => `${id} removed`),
        ];
      return message.kind === 'networks' ? ['networks'] : [];
    });
  }

  get lastPlan(): number {
    return this.heard.reduce((last, said) => (said.kind === 'networks' ? said.revision : last), 0);
  }
}

/** A dispatcher that leads, over a scene. */
class Led extends Scene implements Disposable {
  readonly clock: ManualClock = new ManualClock();
  dispatcher: Dispatcher;
  readonly dirty: Set<string> = new Set();
  isHeld = true;
  secretError: Error | undefined;
  isSingleWriter = false;
  readonly #leads = new AbortController();

  constructor(...writes: (Write | Write[])[]) {
    super();
    this.dispatcher = this.leadsAfter(new Map());
    this.follow(...writes);
  }

  /** Another one that leads over the same, and what it begins with. */
  leadsAfter(silentMs: ReadonlyMap<string, number>, predecessor?: string): Dispatcher {
    const dispatcher = new Dispatcher({
      ...{ view: this.view, clock: this.clock, times: TIMES, managers: () => ['m1'] },
      sources: {
        openSecret: ({ sealed }) => {
          if (this.secretError !== undefined) throw this.secretError;
          return sealed;
        },
        openRegistryAuth: (sealed) => sealed,
        openNetworkKey: ({ id }) => `opened ${id}`,
        isSingleWriter: () => this.isSingleWriter,
      },
      leads: this.#leads.signal,
      isHeld: () => this.isHeld,
      ...{ silentMs, predecessor },
    });
    dispatcher.connect((key) => this.dirty.add(key));
    return dispatcher;
  }

  [Symbol.dispose](): void {
    this.#leads.abort();
  }

  follow(...writes: (Write | Write[])[]): void {
    for (const change of this.happens(...writes))
      for (const key of this.dispatcher.keysOf(change, this.view)) this.dirty.add(key);
  }

  /** A node's agent comes; its session ends with `ended`. */
  async comes(nodeId: string, isPolite = true): Promise<{ agent: AgentEnd; ended: Promise<unknown> }> {
    const agent = new AgentEnd();
    const ended = this.dispatcher
      .serve(agent, { nodeId, role: 'worker' })
      .catch((error: unknown) => error)
      .finally(() => agent.close());
    if (isPolite) agent.says({ kind: 'hello', address: nodeId, description: describe({}) });
    await this.pass(1);
    return { agent, ended };
  }

  /** What is dirty is decided, and comes to be. */
  writes(): string[] {
    const sentences: string[] = [];
    for (const key of [...this.dirty]) {
      this.dirty.delete(key);
      const decision = this.dispatcher.reconcile(this.view, key, {
        ...this.context(),
        nowMs: this.clock.nowMs(),
      });
      if (decision.writes.length > 0) this.follow([...decision.writes]);
      sentences.push(...said(decision));
    }
    return sentences;
  }

  state(nodeId: string): string | undefined {
    return this.view.get('node', nodeId)?.Status.State;
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }
}

function describe(labels: Record<string, string>): NodeDescription {
  return {
    ...{ Hostname: 'a', Platform: { Architecture: 'x86_64', OS: 'linux' } },
    Resources: { NanoCPUs: 1e9, MemoryBytes: 1e9 },
    Engine: { EngineVersion: '1', Labels: labels, Plugins: [] },
  };
}

function status(taskId: string, State: TaskState): AgentMessage {
  return { kind: 'status', updates: [{ taskId, status: { Timestamp: '', State, Message: '' } }] };
}

test('an agent hears of its settings, its networks, its tasks, and when that is all', async () => {
  using led = new Led(node('a'), node('b'), service(), task('t1'), task('t2', { NodeID: 'b' }));
  const { agent } = await led.comes('a');
  assert.deepEqual(
    agent.heard.map(({ kind }) => kind),
    ['settings', 'networks', 'tasks', 'complete'],
  );
  assert.deepEqual(agent.told, ['networks', 't1 running']);
});

test('from then on it hears of what changes, once', async () => {
  using led = new Led(node('a'), service(), task('t1'));
  const { agent } = await led.comes('a');
  led.follow(task('t2', { Slot: 2, is: 'assigned' }), task('t1', { DesiredState: 'shutdown' }));
  await led.pass(1);
  led.follow(task('t2', { Slot: 2, is: 'running' }), { table: 'task', delete: 't1' });
  await led.pass(1);
  assert.deepEqual(agent.told.slice(2), ['t2 running', 't1 shutdown', 't1 removed']);
});

test('a task that is not assigned yet is not told', async () => {
  using led = new Led(node('a'), service(), task('t1', { is: 'pending', NodeID: 'a' }));
  assert.deepEqual((await led.comes('a')).agent.told, ['networks']);
});

test('a node is lost when nothing is heard of it, and back when it comes', async () => {
  using led = new Led(node('a'));
  led.writes();
  await led.pass(4999);
  led.dirty.add('node/a');
  assert.deepEqual(led.writes(), []);
  await led.pass(1);
  led.dirty.add('node/a');
  led.writes();
  assert.equal(led.state('a'), 'down');
  await led.comes('a');
  led.writes();
  assert.equal(led.state('a'), 'ready');
});

test('a node that was given up and goes on talking is back', async () => {
  using led = new Led(node('a'));
  const { agent } = await led.comes('a');
  led.writes();
  led.follow(node('a', { state: 'down' }));
  led.dirty.clear();
  agent.says({ kind: 'heartbeat', sent: 1 });
  await led.pass(1);
  led.writes();
  assert.equal(led.state('a'), 'ready');
});

test('heartbeats are answered with when they were sent, and only by who leads by the clock', async () => {
  using led = new Led(node('a'));
  const { agent, ended } = await led.comes('a');
  agent.says({ kind: 'heartbeat', sent: 41 });
  await led.pass(1);
  assert.deepEqual(agent.heard.at(-1), { kind: 'heartbeat', sent: 41 });
  led.isHeld = false;
  agent.says({ kind: 'heartbeat', sent: 42 });
  await led.pass(1);
  assert.ok(!agent.heard.some((said) => said.kind === 'heartbeat' && said.sent === 42));
  await ended;
});

test('how long single writers of a node may go on counts from when it was heard last', async () => {
  using led = new Led(node('a'));
  await led.pass(100);
  assert.equal(led.dispatcher.fencedInMs('a'), 6900);
  const { agent } = await led.comes('a');
  await led.pass(1000);
  agent.says({ kind: 'heartbeat', sent: 1 });
  await led.pass(500);
  assert.equal(led.dispatcher.fencedInMs('a'), 6500);
  await led.pass(10_000);
  assert.equal(led.dispatcher.fencedInMs('a'), 0);
});

test('silence before a leadership counts, but for the time to come to the new leader, and not for single writers', async () => {
  using led = new Led(node('a'), node('b'));
  const { agent } = await led.comes('a');
  await led.comes('b');
  await led.pass(3000);
  agent.says({ kind: 'heartbeat', sent: 1 });
  await led.pass(1);
  const { silences } = led.dispatcher;
  assert.deepEqual([silences.get('a'), silences.get('b')], [1, 3002]);
  led.dispatcher = led.leadsAfter(silences);
  const look = (): unknown[] => {
    led.dirty.add('node/a').add('node/b');
    led.writes();
    return [led.state('a'), led.state('b')];
  };
  look();
  assert.equal(led.dispatcher.fencedInMs('b'), 7000);
  await led.pass(2999);
  assert.deepEqual(look(), ['ready', 'ready']);
  await led.pass(1);
  assert.deepEqual(look(), ['ready', 'down']);
});

test('who led before has less time to come to the new leader than who may still be looking for it', async () => {
  using led = new Led(node('a'), node('b'));
  led.dispatcher = led.leadsAfter(
    new Map([
      ['a', 9000],
      ['b', 9000],
    ]),
    'a',
  );
  const look = (): unknown[] => {
    led.dirty.add('node/a').add('node/b');
    led.writes();
    return [led.state('a'), led.state('b')];
  };
  look();
  await led.pass(1999);
  assert.deepEqual(look(), ['ready', 'ready']);
  await led.pass(1);
  assert.deepEqual(look(), ['down', 'ready']);
  await led.pass(1000);
  assert.deepEqual(look(), ['down', 'down']);
});

const REPORTS: [string, TaskState, TaskState, boolean][] = [
  ['that goes on is written', 'assigned', 'running', true],
  ['that goes back is not', 'running', 'preparing', false],
  ['of what is over already is not', 'shutdown', 'failed', false],
  ['that is the managers’ to say is not', 'assigned', 'orphaned', false],
  ['that would undo its placement is not', 'accepted', 'pending', false],
  ['of a task that is not assigned yet is not', 'pending', 'running', false],
];

for (const [what, before, after, isHeard] of REPORTS) {
  test(`a status ${what}`, async () => {
    using led = new Led(node('a'), service(), task('t1', { is: before, NodeID: 'a' }));
    const { agent } = await led.comes('a');
    agent.says(status('t1', after));
    await led.pass(1);
    led.writes();
    assert.equal(led.task('t1').Status.State, isHeard ? after : before);
  });
}

test('a node is not heard about tasks of others, or about none', async () => {
  using led = new Led(node('a'), node('b'), service(), task('t1', { NodeID: 'b', is: 'assigned' }));
  const { agent } = await led.comes('a');
  agent.says(status('t1', 'failed'));
  agent.says(status('no such task', 'failed'));
  await led.pass(1);
  led.writes();
  assert.equal(led.task('t1').Status.State, 'assigned');
});

const GARBAGE: [string, object][] = [
  ['no message', { hello: 'world' }],
  ['what only leaders say', { kind: 'redirect', address: 'evil:1' }],
  ['too much of a text', { kind: 'hello', address: 'x'.repeat(10_000), description: describe({}) }],
  [
    'a state that there is not',
    { kind: 'status', updates: [{ taskId: 't', status: { Timestamp: '', State: 'great', Message: '' } }] },
  ],
  ['a revision that is none', { kind: 'applied', revision: -1 }],
];

for (const [what, message] of GARBAGE) {
  test(`a node that sends ${what} loses its session, and harms nobody`, async () => {
    using led = new Led(node('a'), node('b'), service(), task('t1', { NodeID: 'b' }));
    const good = await led.comes('b');
    const bad = await led.comes('a');
    bad.agent.says(message);
    assert.equal(kindOf(await bad.ended), 'invalid');
    led.follow(task('t1', { NodeID: 'b', DesiredState: 'shutdown' }));
    await led.pass(1);
    assert.equal(good.agent.told.at(-1), 't1 shutdown');
  });
}

test('who is not in the cluster, or shows no certificate, is served nothing', async () => {
  using led = new Led(node('a'));
  const { agent, ended } = await led.comes('stranger');
  assert.equal(kindOf(await ended), 'forbidden');
  assert.deepEqual(agent.heard, []);
  await assert.rejects(
    led.dispatcher.serve(new AgentEnd(), undefined),
    (error) => kindOf(error) === 'forbidden',
  );
});

test('a node that is removed loses its session', async () => {
  using led = new Led(node('a'));
  const { ended } = await led.comes('a');
  led.follow({ table: 'node', delete: 'a' });
  await ended;
});

test('a newer session of a node ends the older one, which is not heard any more', async () => {
  using led = new Led(node('a'), service(), task('t1', { is: 'assigned' }));
  const older = await led.comes('a');
  await led.comes('a');
  assert.ok(older.agent.closed.aborted);
  older.agent.says(status('t1', 'failed'));
  await led.pass(1);
  led.writes();
  assert.equal(led.task('t1').Status.State, 'assigned');
  await older.ended;
});

test('a node that describes itself anew all the time is written once a heartbeat', async () => {
  using led = new Led(node('a'));
  const { agent } = await led.comes('a');
  led.writes();
  let written = 0;
  for (let i = 0; i < 300; i++) {
    agent.says({ kind: 'description', description: describe({ i: String(i) }) });
    await led.pass(10);
    written += led.writes().length;
  }
  assert.ok(written <= 4, `${written} writes`);
});

test('a node that takes nothing keeps no other waiting', async () => {
  using led = new Led(node('a'), node('b'), service(), task('t1', { NodeID: 'b' }));
  const deaf = await led.comes('a');
  deaf.agent.blocked = new Promise(() => undefined);
  const good = await led.comes('b');
  for (let i = 0; i < 100; i++) deaf.agent.says({ kind: 'heartbeat', sent: i });
  led.follow(task('t1', { NodeID: 'b', DesiredState: 'shutdown' }));
  await led.pass(1);
  assert.equal(good.agent.told.at(-1), 't1 shutdown');
});

/** A task on a network, with others that may send to it. */
const ON_NET = { networks: [{ networkId: 'net', address: '10.1.0.9/24', aliases: [] }] };

async function drained(): Promise<{ led: Led; mine: AgentEnd; peer: AgentEnd; peerEnded: Promise<unknown> }> {
  const led = new Led(
    ...[network('net'), node('a'), node('b'), service(), task('t1', ON_NET)],
    task('t2', { ...ON_NET, Slot: 2, NodeID: 'b' }),
  );
  const { agent: mine } = await led.comes('a');
  const { agent: peer, ended: peerEnded } = await led.comes('b');
  for (const agent of [mine, peer]) agent.says({ kind: 'applied', revision: agent.lastPlan });
  await led.pass(1);
  led.follow(task('t1', { ...ON_NET, DesiredState: 'shutdown' }));
  await led.pass(1);
  mine.says({ kind: 'applied', revision: mine.lastPlan });
  await led.pass(1);
  return { led, mine, peer, peerEnded };
}

test('the end of a task is told when all others have heard that it serves no more', async () => {
  const { led, mine, peer } = await drained();
  assert.equal(mine.told.includes('t1 shutdown'), false);
  peer.says({ kind: 'applied', revision: peer.lastPlan - 1 });
  await led.pass(1);
  assert.equal(mine.told.includes('t1 shutdown'), false);
  peer.says({ kind: 'applied', revision: peer.lastPlan });
  await led.pass(1);
  assert.equal(mine.told.includes('t1 shutdown'), true);
});

test('or when the time for that is over', async () => {
  const { led, mine } = await drained();
  await led.pass(2900);
  assert.equal(mine.told.includes('t1 shutdown'), false);
  await led.pass(100);
  assert.equal(mine.told.includes('t1 shutdown'), true);
});

test('or when who has not heard of it is gone, or the task ended by itself', async () => {
  const gone = await drained();
  gone.peer.close();
  await gone.peerEnded;
  await gone.led.pass(1);
  assert.equal(gone.mine.told.includes('t1 shutdown'), true);
  const ended = await drained();
  ended.led.follow(task('t1', { ...ON_NET, DesiredState: 'shutdown', is: 'failed' }));
  await ended.led.pass(1);
  assert.equal(ended.mine.told.includes('t1 shutdown'), true);
});

test('a service that becomes a single writer is told to the nodes that run it', async () => {
  using led = new Led(node('a'), service({ replicas: 2 }), task('t1'));
  const { agent } = await led.comes('a');
  led.isSingleWriter = true;
  led.follow(service({ replicas: 1 }));
  await led.pass(1);
  const last = agent.heard.findLast((message) => message.kind === 'tasks');
  assert.deepEqual(
    last?.tasks.map(({ id, singleWriter }) => [id, singleWriter]),
    [['t1', true]],
  );
});

/** A service that has just become a single writer, and the number that its node is asked to say when it ends its task by itself. */
async function marked(led: Led): Promise<{ agent: AgentEnd; asked: () => number }> {
  const { agent } = await led.comes('a');
  led.isSingleWriter = true;
  led.follow(service({ spec: { Labels: { changes: 'once' } } }));
  await led.pass(1);
  const asked = (): number => {
    const last = agent.heard.findLast((message) => message.kind === 'tasks');
    return last?.tasks[0]?.confirmFence ?? 0;
  };
  return { agent, asked };
}

test('a task is fenced by its record when its node has said that it ends it, and not before', async () => {
  using led = new Led(node('a'), service(), task('t1'));
  const { agent, asked } = await marked(led);
  assert.ok(asked() > 0);
  assert.equal(led.task('t1').fenced, undefined);
  agent.says({ kind: 'fenced', tasks: [{ taskId: 't1', number: asked() - 1 }] });
  await led.pass(1);
  led.writes();
  assert.equal(led.task('t1').fenced, undefined);
  agent.says({ kind: 'fenced', tasks: [{ taskId: 't1', number: asked() }] });
  await led.pass(1);
  led.writes();
  assert.equal(led.task('t1').fenced, true);
});

test('an answer to what was asked before the task was told otherwise counts for nothing', async () => {
  using led = new Led(node('a'), service(), task('t1'));
  const { agent, asked } = await marked(led);
  const first = asked();
  led.isSingleWriter = false;
  led.follow(service({ spec: { Labels: { changes: 'twice' } } }));
  await led.pass(1);
  led.isSingleWriter = true;
  led.follow(service({ spec: { Labels: { changes: 'again' } } }));
  await led.pass(1);
  agent.says({ kind: 'fenced', tasks: [{ taskId: 't1', number: first }] });
  await led.pass(1);
  led.writes();
  assert.equal(led.task('t1').fenced, undefined);
});

test('a node is told that a task is no single writer when its record does not say so any more', async () => {
  using led = new Led(node('a'), service(), task('t1', { fenced: true }));
  const { agent } = await led.comes('a');
  const told = (): boolean | undefined =>
    agent.heard.findLast((message) => message.kind === 'tasks')?.tasks[0]?.singleWriter;
  assert.equal(told(), true);
  led.follow(service({ spec: { Labels: { changes: 'once' } } }));
  await led.pass(1);
  assert.equal(told(), true);
  led.writes();
  await led.pass(1);
  assert.deepEqual([led.task('t1').fenced, told()], [undefined, false]);
});

test('a task that no node has heard of is fenced as soon as its service is a single writer', () => {
  using led = new Led(node('a'), service(), task('t1', { is: 'pending', DesiredState: 'ready' }));
  led.isSingleWriter = true;
  led.follow(service({ spec: { Labels: { changes: 'once' } } }));
  led.writes();
  assert.equal(led.task('t1').fenced, true);
});

const FILE = { Name: 'password', UID: '0', GID: '0', Mode: 0o400 };
const WITH_SECRET = {
  template: {
    ContainerSpec: {
      Image: 'busybox',
      Secrets: [{ SecretID: 's1', SecretName: 'password', File: FILE }],
    },
  },
};
const SECRET: Write = {
  table: 'secret',
  put: { ID: 's1', CreatedAt: '', UpdatedAt: '', Spec: { Name: 'password' }, sealed: 'c2VjcmV0' },
};

function secretsTold(agent: AgentEnd): Record<string, string[]> {
  const all = agent.heard.flatMap((message) => (message.kind === 'tasks' ? message.tasks : []));
  return Object.fromEntries(all.map(({ id, secrets }) => [id, secrets.map(({ data }) => data)]));
}

test('secrets go to tasks that use them and may still run', async () => {
  using led = new Led(
    ...[node('a'), SECRET, service(WITH_SECRET), task('t1', { is: 'assigned' })],
    ...[task('t2', { is: 'failed', Slot: 2 }), task('t3', { DesiredState: 'shutdown', Slot: 3 })],
  );
  const { agent } = await led.comes('a');
  assert.deepEqual(secretsTold(agent), { t1: ['c2VjcmV0'], t2: [], t3: [] });
});

test('a task whose secret is gone, or cannot be opened, is rejected; others are told', async () => {
  for (const isThere of [true, false]) {
    using led = new Led(
      ...[node('a'), isThere ? SECRET : [], service(WITH_SECRET), task('t1', { is: 'assigned' })],
      ...[service({ ID: 'db' }), task('d1', { ServiceID: 'db', is: 'assigned' })],
    );
    led.secretError = unavailable('the key is not here');
    const { agent } = await led.comes('a');
    led.writes();
    assert.equal(led.task('t1').Status.State, 'rejected');
    assert.match(
      led.task('t1').Status.Err ?? '',
      isThere ? /the key is not here/ : /secret password is not there/,
    );
    assert.ok(agent.told.includes('d1 running'));
  }
});

test('a container that was made with a secret is told of also when that is gone, or cannot be opened', async () => {
  for (const isThere of [true, false]) {
    using led = new Led(node('a'), isThere ? SECRET : [], service(WITH_SECRET), task('t1'));
    led.secretError = unavailable('the key is not here');
    assert.deepEqual(secretsTold((await led.comes('a')).agent), { t1: [] });
    assert.deepEqual(
      led.writes().filter((said) => said.startsWith('t1')),
      [],
    );
  }
});
