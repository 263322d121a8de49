import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import { type ClusterEvent, clusterEventsOf } from '#cluster/control/cluster-events.ts';
import { alreadyInASwarm, notAManager } from '#cluster/control/control-errors.ts';
import {
  controlOver,
  FIRST_NODE,
  type FollowedStore,
  oneNodeSwarm,
} from '#cluster/control/control-fixture.ts';
import type {
  SwarmInfo,
  SwarmMembership,
  SwarmState,
  TaskLogRecord,
  TaskLogRequest,
} from '#cluster/control/swarm-membership.ts';
import { Daemon, tearDown } from '#daemon/daemon.ts';
import { type DaemonOptions, parseCommand } from '#daemon/daemon-options.ts';

const COMMAND_LIMIT_MS = 20_000;

/** A manager of a swarm that is only a store: whatever is asked of it is written, and nobody acts on it. */
class StoredSwarm implements SwarmMembership {
  readonly state: SwarmState = 'active';
  readonly nodeId: string = FIRST_NODE.ID;
  readonly nodeAddress: string = FIRST_NODE.Status.Addr;
  readonly store: FollowedStore;
  /** Names of the host's own networks by ID, for the test to fill in. */
  readonly localNetworks: Map<string, string> = new Map();
  /** What tasks are said to have written. */
  readonly written: TaskLogRecord[] = [];
  readonly #control: ClusterControl;

  constructor(store: FollowedStore) {
    this.store = store;
    this.#control = controlOver(store, { localNetwork: (reference) => this.localNetworks.get(reference) });
  }

  info(): SwarmInfo {
    return {
      state: this.state,
      nodeId: this.nodeId,
      nodeAddress: this.nodeAddress,
      controlAvailable: true,
      error: '',
      managers: [{ nodeId: this.nodeId, address: FIRST_NODE.address }],
    };
  }

  control(): ClusterControl {
    return this.#control;
  }

  async init(): Promise<string> {
    throw alreadyInASwarm();
  }

  async join(): Promise<void> {
    throw alreadyInASwarm();
  }

  async attachableNetwork(): Promise<undefined> {
    return undefined;
  }

  async leave(): Promise<void> {
    throw alreadyInASwarm();
  }

  async unlock(): Promise<void> {
    throw alreadyInASwarm();
  }

  async unlockKey(): Promise<string> {
    return '';
  }

  operator(): never {
    throw notAManager();
  }

  async restore(): Promise<never> {
    throw alreadyInASwarm();
  }

  async *logs({ target }: TaskLogRequest): AsyncIterable<TaskLogRecord> {
    for (const record of this.written) {
      if ('taskId' in target ? record.taskId === target.taskId : record.serviceId === target.serviceId)
        yield record;
    }
  }

  subscribe(listener: (event: ClusterEvent) => void): Disposable {
    return this.store.subscribe((changes) => {
      for (const event of clusterEventsOf(changes)) listener(event);
    });
  }
}

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A daemon of this process that is the manager of a {@link StoredSwarm}, driven by the docker CLI. */
export class ServedSwarm implements AsyncDisposable {
  readonly swarm: StoredSwarm;
  readonly directory: string;
  readonly #socket: string;
  readonly #options: DaemonOptions;
  readonly #daemon: Daemon;

  private constructor(o: {
    swarm: StoredSwarm;
    directory: string;
    socket: string;
    options: DaemonOptions;
    daemon: Daemon;
  }) {
    this.swarm = o.swarm;
    this.directory = o.directory;
    this.#socket = o.socket;
    this.#options = o.options;
    this.#daemon = o.daemon;
  }

  static async start(): Promise<ServedSwarm> {
    const directory = mkdtempSync(join(tmpdir(), 'drover-swarm-'));
    const socket = join(directory, 'd.sock');
    const { pid } = process;
    const command = parseCommand([
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
      ...['--pidfile', join(directory, 'pid'), '-H', `unix://${socket}`],
      ...['--bridge', `dw${pid.toString(36)}`, '--bip', `10.${192 + ((pid >> 8) % 32)}.${pid & 0xff}.1/24`],
    ]);
    if (!('options' in command)) throw new Error('the flags of the test are no daemon’s');
    const { options } = command;
    const swarm = new StoredSwarm(await oneNodeSwarm());
    const daemon = await Daemon.start(options, pino({ level: 'silent' }), swarm);
    const served = new ServedSwarm({ swarm, directory, socket, options, daemon });
    const ls = ['network', 'ls', '--no-trunc', '--filter', 'scope=local', '--format', '{{.ID}} {{.Name}}'];
    for (const line of (await served.ok(...ls)).split('\n')) {
      const [id = '', name = ''] = line.split(' ');
      swarm.localNetworks.set(id, name).set(name, name);
    }
    return served;
  }

  /** Runs the docker CLI to its end. */
  async docker(argv: readonly string[], stdin = ''): Promise<Result> {
    const child = spawn('docker', ['-H', `unix://${this.#socket}`, ...argv], { timeout: COMMAND_LIMIT_MS });
    const result = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      result.stdout += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      result.stderr += String(chunk);
    });
    child.stdin.end(stdin);
    const [status] = await once(child, 'close');
    return { status: Number(status), ...result };
  }

  /** What it prints, without the last line's end. Throws with what it complains about. */
  async ok(...argv: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.docker(argv);
    if (status !== 0) throw new Error(`docker ${argv.join(' ')} ended with ${status}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** What it complains about. */
  async fails(...argv: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.docker(argv);
    if (status === 0) throw new Error(`docker ${argv.join(' ')} succeeded: ${stdout}`);
    return stderr.trimEnd();
  }

  async call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const headers = { 'Content-Type': 'application/json' };
    const call = request({ socketPath: this.#socket, method, path, headers, agent: false });
    call.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = await once(call, 'response');
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return { status: response.statusCode, body: text === '' ? undefined : JSON.parse(text) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
    await tearDown(this.#options, pino({ level: 'silent' }));
    rmSync(this.directory, { recursive: true, force: true });
  }
}
