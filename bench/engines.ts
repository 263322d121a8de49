import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeCgroup } from '#linux/cgroups.ts';
import { Dockerd } from '../scripts/dockerd.ts';
import { end, processesBeside, pssBytes, run } from './process.ts';

/** An engine that is measured, in network and mount namespaces of its own. */
export interface Engine extends AsyncDisposable {
  readonly name: string;
  readonly version: string;
  /** The command line client, as far as the subcommand. */
  readonly client: readonly string[];
  /** Options that `run` cannot do without on a machine that may not raise limits. */
  readonly runOptions: readonly string[];
  /** Options that make `rm -f` kill at once, as Docker's does. */
  readonly removeOptions: readonly string[];
  /** A process in the engine's network namespace. */
  readonly pid: number;
  /** Where images are kept. */
  readonly dataRoot: string;
  /** Proportional set size of the engine's own processes, in bytes: daemons, shims, monitors; not what the containers run. */
  memory(): number;
}

const DROVER = join(import.meta.dirname, '..', 'bin', 'drover');
/** A namespace of their own for links and mounts, with the loopback up. */
const APART = ['unshare', '--net', '--mount', '--', 'busybox', 'sh', '-c'];
/** `directory`/run is a tmpfs, as /run is where systemd has set the machine up. */
function launcher(directory: string): string[] {
  const runDirectory = join(directory, 'run');
  mkdirSync(runDirectory);
  const script = 'busybox ip link set lo up && mount -t tmpfs -o mode=755 run "$1" && shift && exec "$@"';
  return [...APART, script, 'apart', runDirectory];
}
const START_LIMIT_MS = 30_000;

/** The engines that are installed, Drover first; each keeps everything below a directory of its own. */
export async function startEngines(home: string, only: readonly string[]): Promise<Engine[]> {
  const starts: Record<string, (directory: string) => Promise<Engine> | Engine> = {
    drover: startDrover,
    dockerd: startDockerd,
    podman: startPodman,
  };
  const engines: Engine[] = [];
  for (const [name, start] of Object.entries(starts)) {
    const isWanted = only.length === 0 || only.includes(name);
    if (!isWanted || (name !== 'drover' && !isInstalled(name))) continue;
    const directory = join(home, name);
    mkdirSync(directory);
    engines.push(await start(directory));
  }
  return engines;
}

export function isInstalled(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0;
}

function memoryOf(pid: number, without: readonly number[] = []): number {
  return processesBeside(pid)
    .filter((process) => !without.includes(process.pid))
    .reduce((sum, process) => sum + pssBytes(process.pid), 0);
}

async function startDrover(directory: string): Promise<Engine> {
  const socket = join(directory, 'd.sock');
  const [program = '', ...argv] = [
    ...[...launcher(directory), DROVER, 'daemon', '--data-root', join(directory, 'data')],
    ...['--exec-root', join(directory, 'run', 'exec'), '--pidfile', join(directory, 'pid')],
    ...['--host', `unix://${socket}`, '--bridge', 'dvbench', '--bip', '10.231.0.1/16'],
  ];
  const daemon = spawn(program, argv, { stdio: ['ignore', 'ignore', 'ignore'] });
  await answers(daemon, socket);
  return ofDaemon('drover', daemon, { socket, dataRoot: join(directory, 'data') }, () => end(daemon));
}

async function startDockerd(directory: string): Promise<Engine> {
  const dockerd = await Dockerd.start(directory, launcher(directory));
  const { process, socket } = dockerd;
  return ofDaemon('dockerd', process, { socket, dataRoot: join(directory, 'data') }, () =>
    dockerd[Symbol.asyncDispose](),
  );
}

function ofDaemon(
  name: string,
  daemon: ChildProcess,
  o: { socket: string; dataRoot: string },
  stop: () => Promise<void>,
): Engine {
  const client = ['docker', '--host', `unix://${o.socket}`];
  const pid = daemon.pid ?? 0;
  return {
    ...{ name, client, runOptions: [], removeOptions: [] },
    pid,
    dataRoot: o.dataRoot,
    version: run([...client, 'version', '--format', '{{.Server.Version}}']),
    memory: () => memoryOf(pid),
    [Symbol.asyncDispose]: stop,
  };
}

/** Podman has no daemon and is driven by its own client: its API (4.3) does not know how the docker CLI 28 attaches. */
function startPodman(directory: string): Engine {
  const [program = '', ...argv] = [...launcher(directory), 'sleep', 'infinity'];
  const holder = spawn(program, argv, { stdio: 'ignore' });
  const pid = holder.pid ?? 0;
  // Not before unshare(1) has moved it.
  run(['sh', '-c', `until grep -q sleep /proc/${pid}/comm; do sleep 0.05; done`]);
  const cgroup = 'drover_bench_podman';
  const client = [
    ...['nsenter', `--net=/proc/${pid}/ns/net`, `--mount=/proc/${pid}/ns/mnt`, '--', 'podman'],
    ...[
      '--root',
      join(directory, 'root'),
      '--runroot',
      join(directory, 'run', 'root'),
      '--tmpdir',
      join(directory, 'run', 'tmp'),
    ],
    ...['--network-config-dir', join(directory, 'networks'), '--cgroup-manager', 'cgroupfs'],
    ...['--events-backend', 'file', '--storage-driver', 'overlay'],
  ];
  return {
    ...{ name: 'podman', client, removeOptions: ['--time', '0'] },
    runOptions: [
      '--ulimit',
      'nofile=1024:1024',
      '--ulimit',
      'nproc=1024:1024',
      '--cgroup-parent',
      `/${cgroup}`,
    ],
    pid,
    dataRoot: join(directory, 'root'),
    version: run([...client, 'version', '--format', '{{.Client.Version}}']),
    memory: () => memoryOf(pid, [pid]),
    [Symbol.asyncDispose]: async () => {
      await end(holder);
      removeCgroup(`/${cgroup}`);
    },
  };
}

async function answers(daemon: ChildProcess, socket: string): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  while (spawnSync('docker', ['--host', `unix://${socket}`, 'version']).status !== 0) {
    if (daemon.exitCode !== null || Date.now() > deadline) throw new Error('the daemon did not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
