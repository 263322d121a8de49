import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { attachToNamespace, bringLoopbackUp, createBridge, deleteLink, setLinkUp } from '#linux/links.ts';
import { createNetworkNamespace, removeNetworkNamespace } from '#linux/network-namespace.ts';
import { patience } from '../support/patience.ts';
import type { NodeCall } from './overlay-node.ts';

const PROGRAM = fileURLToPath(new URL('overlay-node.ts', import.meta.url));
const SERVER = fileURLToPath(new URL('naming-server.ts', import.meta.url));
const CLIENT = fileURLToPath(new URL('asking-client.ts', import.meta.url));
const COMMAND_LIMIT_MS = patience(20_000);

/** One machine of a test: a network namespace, and the program that is its daemon. */
export class ClusterNode {
  /** On the network that joins the machines. */
  readonly address: string;
  readonly namespacePath: string;
  readonly #directory: string;
  #program: ChildProcessWithoutNullStreams | undefined;
  #answers: AsyncIterator<string> | undefined;

  constructor(o: { address: string; namespacePath: string; directory: string }) {
    this.address = o.address;
    this.namespacePath = o.namespacePath;
    this.#directory = o.directory;
  }

  async start(): Promise<void> {
    const argv = [
      `--net=${this.namespacePath}`,
      process.execPath,
      ...process.execArgv,
      PROGRAM,
      this.#directory,
    ];
    this.#program = spawn(
      'nsenter',
      argv.filter((argument) => !argument.startsWith('--test')),
    );
    this.#program.stderr.pipe(process.stderr);
    const lines: Interface = createInterface({ input: this.#program.stdout });
    this.#answers = lines[Symbol.asyncIterator]();
    assert.equal(await this.#answer(), 'ready');
  }

  /** As SIGKILL would. */
  async kill(): Promise<void> {
    const program = this.#program;
    if (program === undefined || program.exitCode !== null) return;
    const ended = once(program, 'exit');
    program.kill('SIGKILL');
    await ended;
    this.#program = undefined;
  }

  async ask(call: NodeCall): Promise<unknown> {
    this.#program?.stdin.write(`${JSON.stringify(call)}\n`);
    return this.#answer();
  }

  /** The network namespace of one of its containers. */
  containerPath(id: string): string {
    return join(this.#directory, 'netns', id);
  }

  /** What a test that failed left is taken away too. */
  remove(): void {
    const containers = join(this.#directory, 'netns');
    const names = existsSync(containers) ? readdirSync(containers) : [];
    for (const name of names) removeNetworkNamespace(join(containers, name));
    removeNetworkNamespace(this.namespacePath);
  }

  async #answer(): Promise<unknown> {
    const next = await this.#answers?.next();
    if (next === undefined || next.done === true) throw new Error('the node has ended');
    const { value, error } = JSON.parse(next.value) as { value?: unknown; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  }
}

/** Machines on one network, and a client that is none of them; disposing of it asserts that nodes left nothing, and removes it. */
export class OverlayCluster implements AsyncDisposable {
  readonly nodes: ClusterNode[] = [];
  /** A machine that is no node. */
  readonly client: ClusterNode;
  readonly directory: string = mkdtempSync(join(tmpdir(), 'drover-overlay-'));
  readonly #bridge: string;
  readonly #hostNames: string[] = [];
  readonly #processes: ChildProcessWithoutNullStreams[] = [];

  private constructor(bridge: string, mtu: number) {
    this.#bridge = bridge;
    createBridge({ name: bridge, mtu });
    setLinkUp(bridge);
    this.client = this.#machine('client', '192.0.2.100', mtu);
  }

  static async start(o: { bridge: string; nodes: number; mtu?: number }): Promise<OverlayCluster> {
    const cluster = new OverlayCluster(o.bridge, o.mtu ?? 1500);
    for (let index = 1; index <= o.nodes; index++) {
      const node = cluster.#machine(`n${index}`, `192.0.2.${index}`, o.mtu ?? 1500);
      cluster.nodes.push(node);
      await node.start();
    }
    return cluster;
  }

  /** The node of that number, from 1. */
  node(number: number): ClusterNode {
    const node = this.nodes[number - 1];
    assert.ok(node !== undefined);
    return node;
  }

  /** Runs a program to its end in a network namespace. */
  run(path: string, ...argv: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync('nsenter', [`--net=${path}`, ...argv], { encoding: 'utf8', timeout: COMMAND_LIMIT_MS });
  }

  ok(path: string, ...argv: string[]): string {
    const { status, stdout, stderr } = this.run(path, ...argv);
    assert.equal(status, 0, `${argv.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Leaves a program running in a network namespace; ended with the cluster. */
  leave(path: string, ...argv: string[]): ChildProcessWithoutNullStreams {
    const child = spawn('nsenter', [`--net=${path}`, ...argv]);
    child.stderr.pipe(process.stderr);
    this.#processes.push(child);
    return child;
  }

  /** Runs a server there that answers with its name and the peer's address; resolves when it listens. */
  async serve(path: string, name: string, port: number): Promise<void> {
    const server = this.leave(path, process.execPath, SERVER, name, String(port));
    await once(server.stdout, 'data');
  }

  /** What connections from there are answered, or the codes of their errors: so many, or one from a port (`from`). */
  connect(
    path: string,
    address: string,
    port: number,
    number = 1,
    mode: 'once' | 'udp' | 'from' = 'once',
  ): string[] {
    const argv = [process.execPath, CLIENT, mode, address, String(port), String(number)];
    return this.ok(path, ...argv)
      .trim()
      .split('\n');
  }

  /** What a name server answers there, sorted; empty where it knows nothing. */
  resolve(path: string, server: string, name: string, type: string): string[] {
    const { stdout } = this.run(path, 'busybox', 'nslookup', `-type=${type}`, name, server);
    const [, answer = ''] = stdout.split(/\n\n/, 2);
    return [...answer.matchAll(/(?:^Address(?: \d+)?: |name = )(\S+)$/gm)]
      .map(([, found = '']) => found)
      .sort();
  }

  /** Each different answer, sorted. */
  names(answers: readonly string[]): string[] {
    return [...new Set(answers)].sort();
  }

  /** Ends a server. */
  async end(name: string): Promise<void> {
    const server = this.#processes.find((child) => child.spawnargs.includes(name));
    assert.ok(server !== undefined);
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  }

  /** A connection from there that stays open, or datagrams from one port. */
  hold(
    path: string,
    address: string,
    port: number,
    mode: 'hold' | 'datagrams' = 'hold',
  ): { ask(): Promise<string> } {
    const client = this.leave(path, process.execPath, CLIENT, mode, address, String(port));
    return {
      ask: async () => {
        client.stdin.write('?\n');
        const [data] = await once(client.stdout, 'data', { signal: AbortSignal.timeout(COMMAND_LIMIT_MS) });
        return String(data).trim();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    for (const node of this.nodes) await node.kill();
    for (const machine of [this.client, ...this.nodes]) machine.remove();
    for (const name of this.#hostNames) deleteLink(name);
    deleteLink(this.#bridge);
    rmSync(this.directory, { recursive: true, force: true });
  }

  #machine(name: string, address: string, mtu: number): ClusterNode {
    const namespacePath = join(this.directory, `${name}.netns`);
    createNetworkNamespace(namespacePath);
    bringLoopbackUp(namespacePath);
    const hostName = `${this.#bridge}${name}`;
    this.#hostNames.push(hostName);
    attachToNamespace({
      namespacePath,
      bridge: this.#bridge,
      hostName,
      interfaceName: 'eth0',
      mac: `02:00:00:00:02:${Number(address.split('.')[3]).toString(16).padStart(2, '0')}`,
      mtu,
      addresses: [`${address}/24`],
    });
    return new ClusterNode({ address, namespacePath, directory: join(this.directory, name) });
  }
}
