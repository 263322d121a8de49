import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CloudView, NodeView } from '#cloud/cloud-view.ts';
import { BUSYBOX } from './docker-host.ts';
import { countLoad, type LoadCount, readLoad } from './load-record.ts';

const SUPPORT = import.meta.dirname;
const DROVER = join(SUPPORT, '..', '..', 'bin', 'drover');
const COMMAND_LIMIT_MS = 120_000;
const CALL_LIMIT_MS = 2000;
const LOOK_MS = 40;
/** What a condition may take before a fault counts as never recovered. */
const LIMIT_MS = 90_000;
const NODES = 5;
/** Each import takes a machine's core for a moment. */
const IMPORTS_AT_ONCE = 5;
const MANAGERS = 3;
export const PORT = 8080;
/** In each of the two modes, at published ports and at the virtual IP each. */
const PER_SECOND = 25;
/** What runs the load inside; no fault of one worker is struck there. */
export const CLIENT_NODE = 'node5';

export interface Task {
  readonly ID: string;
  readonly Slot: number;
  readonly NodeID: string;
  readonly DesiredState: string;
  readonly Status: { readonly State: string; readonly ContainerStatus?: { readonly ContainerID: string } };
  readonly Spec: { readonly ContainerSpec: { readonly Command?: string[]; readonly Args?: string[] } };
}

export interface SwarmNodeView {
  readonly ID: string;
  readonly Status: { readonly State: string };
  readonly Description?: { readonly Hostname: string };
  readonly ManagerStatus?: { readonly Leader?: boolean; readonly Reachability?: string };
}

export interface ServiceView {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Mode: { readonly Replicated?: { readonly Replicas: number } } };
  readonly UpdateStatus?: { readonly State: string; readonly Message: string };
}

/** A cluster of five nodes or more, three of them managers, under load from outside and from inside; driven by the docker CLI. */
export class LoadedCloud implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'df-'));
  readonly replicas: number;
  #nodes: readonly NodeView[] = [];
  /** Nodes that the API is asked at, the first that answers. */
  #askAt: readonly string[] = [];
  #ports: ChildProcess | undefined;

  private constructor(replicas: number) {
    this.replicas = replicas;
  }

  /** Up, with a service `web` of so many replicas, and its load. `flags` are those of `drover cloud up`. */
  static async up({
    replicas,
    nodes = NODES,
    flags = [],
  }: {
    replicas: number;
    nodes?: number;
    flags?: string[];
  }): Promise<LoadedCloud> {
    const cloud = new LoadedCloud(replicas);
    try {
      await cloud.#up(nodes, flags);
      return cloud;
    } catch (error) {
      await cloud[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #up(nodes: number, flags: readonly string[]): Promise<void> {
    await this.cloud('up', 'c', '--nodes', `${nodes}`, '--managers', `${MANAGERS}`, ...flags);
    const views: CloudView[] = JSON.parse(await this.cloud('ls', 'c', '--format', 'json'));
    this.#nodes = views[0]?.nodes ?? [];
    this.ask();
    for (let at = 0; at < nodes; at += IMPORTS_AT_ONCE)
      await Promise.all(
        this.#nodes
          .slice(at, at + IMPORTS_AT_ONCE)
          .map(({ name }) => this.docker(name, 'import', BUSYBOX, 'busybox:latest')),
      );
    mkdirSync(join(this.directory, 'load'));
    await this.docker('node1', 'network', 'create', '-d', 'overlay', 'back');
    await this.docker('node1', ...this.webService('web', this.replicas, '-p', `${PORT}:80`));
    await this.docker(
      'node1',
      ...['service', 'create', '--name', 'client', '--detach', '--no-resolve-image', '--network', 'back'],
      ...['--constraint', `node.hostname==${CLIENT_NODE}`, '--restart-delay', '0s', ...nodeMounts()],
      ...['--mount', `type=bind,src=${join(this.directory, 'load')},dst=/load`, 'busybox:latest'],
      ...['/node', '/drill/http-load-main.ts', '/load/vip', `${PER_SECOND}`, 'http://web/'],
    );
    await this.until('all tasks run', () => this.allRun());
    this.#ports = spawn(
      process.execPath,
      [
        ...[join(SUPPORT, 'http-load-main.ts'), join(this.directory, 'load', 'ports'), `${PER_SECOND}`],
        ...this.#nodes.map(({ address }) => `http://${address}:${PORT}/`),
      ],
      { stdio: ['pipe', 'ignore', 'inherit'] },
    );
    await this.steady();
  }

  /** The arguments of a service of careful web servers, with a health check. */
  webService(name: string, replicas: number, ...flags: string[]): string[] {
    return [
      ...['service', 'create', '--name', name, '--replicas', `${replicas}`, '--detach', '--no-resolve-image'],
      ...['--network', 'back', '--restart-delay', '0s', '--stop-grace-period', '5s'],
      ...['--health-cmd', 'wget -q -O /dev/null http://127.0.0.1/', '--health-interval', '2s'],
      ...['--health-start-period', '30s', '--health-start-interval', '100ms'],
      ...['--update-monitor', '1s', '--rollback-monitor', '1s', ...flags, ...nodeMounts()],
      ...['busybox:latest', '/node', '/drill/web-server.ts', '1'],
    ];
  }

  get nodes(): readonly NodeView[] {
    return this.#nodes;
  }

  get managers(): readonly NodeView[] {
    return this.#nodes.slice(0, MANAGERS);
  }

  /** Who is asked from now on; all managers where none is named. */
  ask(...nodes: string[]): void {
    this.#askAt = nodes.length > 0 ? nodes : this.managers.map(({ name }) => name);
  }

  /** The published ports of these nodes get no load until they are asked again: a client goes elsewhere when a machine is dead. */
  spare(...nodes: string[]): void {
    const left = this.#nodes.filter(({ name }) => !nodes.includes(name));
    this.#ports?.stdin?.write(`${left.map(({ address }) => `http://${address}:${PORT}/`).join(' ')}\n`);
  }

  /** What a command of `drover cloud` prints. */
  async cloud(...argv: string[]): Promise<string> {
    return await printed(DROVER, ['cloud', '--root', this.directory, ...argv]);
  }

  /** What a docker command prints. */
  async docker(node: string, ...argv: string[]): Promise<string> {
    return await printed('docker', ['--host', `unix://${this.#socket(node)}`, ...argv]);
  }

  /** What the API of a node answers, or of the first manager that does. */
  async get<T>(path: string, nodes: readonly string[] = this.#askAt): Promise<T> {
    let failure: unknown = new Error('nobody to ask');
    for (const node of nodes) {
      try {
        return await getJson<T>(this.#socket(node), path);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async tasks(service = 'web'): Promise<Task[]> {
    const filters = encodeURIComponent(JSON.stringify({ service: [service] }));
    return await this.get<Task[]>(`/tasks?filters=${filters}`);
  }

  /** Tasks that are wanted and run, on nodes that are there. */
  async serving(service = 'web'): Promise<Task[]> {
    const nodes = await this.swarmNodes();
    const ready = new Set(nodes.filter(({ Status }) => Status.State === 'ready').map(({ ID }) => ID));
    const tasks = await this.tasks(service);
    return tasks.filter(
      ({ DesiredState, Status, NodeID }) =>
        DesiredState === 'running' && Status.State === 'running' && ready.has(NodeID),
    );
  }

  async swarmNodes(): Promise<SwarmNodeView[]> {
    return await this.get<SwarmNodeView[]>('/nodes');
  }

  async service(name = 'web'): Promise<ServiceView> {
    return await this.get<ServiceView>(`/services/${name}`);
  }

  /** The name of the node that leads; undefined while nobody does. */
  async leader(): Promise<string | undefined> {
    const nodes = await this.swarmNodes();
    return nodes.find(({ ManagerStatus }) => ManagerStatus?.Leader === true)?.Description?.Hostname;
  }

  async nodeState(name: string): Promise<string | undefined> {
    const nodes = await this.swarmNodes();
    return nodes.find(({ Description }) => Description?.Hostname === name)?.Status.State;
  }

  async allRun(): Promise<boolean> {
    const { Spec } = await this.service();
    const wanted = Spec.Mode.Replicated?.Replicas ?? 0;
    return (await this.serving()).length === wanted && (await this.serving('client')).length === 1;
  }

  /** The process of a daemon as the machine numbers it; undefined where none runs. */
  async daemonPids(): Promise<{ name: string; pid: number }[]> {
    const views: CloudView[] = JSON.parse(await this.cloud('ls', 'c', '--format', 'json'));
    return (views[0]?.nodes ?? []).flatMap(({ name, pid }) => (pid === undefined ? [] : [{ name, pid }]));
  }

  /** Milliseconds until a condition is so; one that throws is not so yet. */
  async until(what: string, condition: () => Promise<boolean>, limitMs: number = LIMIT_MS): Promise<number> {
    const beganMs = performance.now();
    let failure: unknown;
    while (performance.now() - beganMs < limitMs) {
      try {
        if (await condition()) return performance.now() - beganMs;
      } catch (error) {
        failure = error;
      }
      await delay(LOOK_MS);
    }
    throw new Error(`it never came to be that ${what}`, { cause: failure });
  }

  /** What both loads counted of the requests that were sent in this time; `toMs` a few seconds ago. */
  load(fromMs: number, toMs: number): { ports: LoadCount; vip: LoadCount } {
    const of = (name: string): LoadCount =>
      countLoad(readLoad(join(this.directory, 'load', name)), fromMs, toMs);
    return { ports: of('ports'), vip: of('vip') };
  }

  /** Resolves to what was sent since `fromMs`, when so many of both loads were and all have been answered, or have failed. */
  async answered(fromMs: number, requests: number): Promise<LoadCount[]> {
    const loads = (): LoadCount[] => Object.values(this.load(fromMs, this.#settledMs()));
    await this.until(`${requests} requests are answered`, async () =>
      loads().every((load) => load.requests >= requests),
    );
    const sentMs = Date.now();
    await this.until('all requests are answered', async () => this.#settledMs() >= sentMs);
    return loads();
  }

  /** What was sent before has an answer, or has none. */
  #settledMs(): number {
    const last = ['ports', 'vip'].map((name) => readLoad(join(this.directory, 'load', name)).at(-1));
    return Math.min(...last.map((interval) => interval?.settledMs ?? 0));
  }

  /** Resolves when everything runs and no request has failed for a while. */
  async steady(): Promise<void> {
    await this.until('everything runs', () => this.allRun());
    await this.until('all nodes are there', async () =>
      (await this.swarmNodes()).every(({ Status }) => Status.State === 'ready'),
    );
    await this.until('all is answered', async () => {
      const { ports, vip } = this.load(Date.now() - QUIET_MS, Date.now());
      return [ports, vip].every(({ requests, failures }) => requests > 0 && failures.length === 0);
    });
  }

  /** What the daemons have logged so far; they go with the cloud. */
  copyLogs(directory: string): void {
    mkdirSync(directory, { recursive: true });
    const from = join(this.directory, 'lib', 'c');
    for (const name of readdirSync(from).filter((one) => one.endsWith('.log')))
      copyFileSync(join(from, name), join(directory, name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ports !== undefined) {
      const ended = once(this.#ports, 'exit');
      this.#ports.kill();
      await ended;
    }
    await this.cloud('down', 'c').catch((error: unknown) => console.error(error));
    rmSync(this.directory, { recursive: true, force: true });
  }

  #socket(node: string): string {
    return join(this.directory, 'run', 'c', node, 'drover.sock');
  }
}

/** Longer than a request may take. */
const QUIET_MS = 4000;

/** What lets this very node run in an image that has none. */
function nodeMounts(): string[] {
  const node = realpathSync(process.execPath);
  return ['/usr/lib', '/lib', '/lib64']
    .map((path) => [path, path])
    .concat([
      [node, '/node'],
      [SUPPORT, '/drill'],
    ])
    .flatMap(([src, dst]) => ['--mount', `type=bind,src=${src},dst=${dst},readonly`]);
}

function printed(program: string, argv: readonly string[]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  execFile(program, argv, { timeout: COMMAND_LIMIT_MS }, (error, stdout, stderr) => {
    if (error === null) resolve(stdout.trim());
    else reject(new Error(`${program} ${argv.join(' ')}: ${stderr || error.message}`));
  });
  return promise;
}

function getJson<T>(socketPath: string, path: string): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const call = request({ socketPath, path, agent: false, timeout: CALL_LIMIT_MS }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (part: string) => {
      text += part;
    });
    response.once('error', reject);
    response.once('end', () => {
      if (response.statusCode === 200) resolve(JSON.parse(text));
      else reject(new Error(`${path}: ${response.statusCode} ${text}`));
    });
  });
  call.once('timeout', () => call.destroy(new Error(`${path}: no answer`)));
  call.once('error', reject);
  call.end();
  return promise;
}
