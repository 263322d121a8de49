import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cgroupTreeProcesses, removeCgroup } from '#linux/cgroups.ts';
import { attachToNamespace, deleteLink } from '#linux/links.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { setHostname } from '#linux/uts-namespace.ts';
import { unavailable } from '#model/errors.ts';
import { type CloudPlace, nodePlace } from './cloud-place.ts';
import type { CloudState, NodeState } from './cloud-state.ts';
import { launch, runCommand } from './process-launcher.ts';
import { isRunning, type ProcessRecord, recordOf, signalProcess } from './process-record.ts';
import { addressOf } from './subnet.ts';
import { waitFor } from './waiting.ts';

const LIMIT_MS = 20_000;
/** Reaps what is left to it, and does nothing else. */
const INIT = 'catatonit';

/**
 * Makes a node's machine: namespaces that live as long as their init, a /run of its own, its host name, its cable. Gives the init.
 * What is left of an earlier one is taken away first.
 */
export async function powerOn(place: CloudPlace, state: CloudState, node: NodeState): Promise<ProcessRecord> {
  await powerOff(place, node);
  const { run, log, cgroup } = nodePlace(place, node.name);
  mkdirSync(run, { recursive: true, mode: 0o755 });
  writeResolver(run);
  const hosts = join(place.run, 'hosts');
  writeFileSync(hosts, hostsFile(state));
  const launcher = launch({
    program: 'unshare',
    args: [
      ...['--mount', '--uts', '--ipc', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'],
      ...['--', INIT, '-P'],
    ],
    cgroup: join(cgroup, 'daemon'),
    log,
  });
  const init = await waitFor(() => initBelow(launcher, log), {
    what: `the init of ${node.name} runs`,
    limitMs: LIMIT_MS,
  });
  const inside = ['--target', String(init.pid), '--mount', '--', 'mount', '--bind'];
  // in this order: /run may be where the other is
  await runCommand('nsenter', [...inside, hosts, '/etc/hosts']);
  await runCommand('nsenter', [...inside, run, '/run']);
  setHostname(`/proc/${init.pid}/ns/uts`, node.name);
  attachToNamespace({
    namespacePath: `/proc/${init.pid}/ns/net`,
    bridge: place.bridge,
    hostName: node.port,
    interfaceName: 'eth0',
    mac: node.mac,
    addresses: [`${node.address}/${state.subnet.split('/')[1] ?? ''}`],
    ...(state.internet ? { gateway: addressOf(state.subnet, 1).split('/')[0] ?? '' } : {}),
  });
  return init;
}

/**
 * What a power failure does: every process ends at once, namespaces and the mounts in them go, and so does what is in /run. Resolves
 * when the last process is gone; data stays.
 */
export async function powerOff(
  place: CloudPlace,
  node: Pick<NodeState, 'name' | 'port' | 'init'>,
): Promise<void> {
  const { run, cgroup } = nodePlace(place, node.name);
  signalProcess(node.init, 'SIGKILL');
  await waitFor(() => (isRunning(node.init) ? undefined : true), {
    what: `${node.name} has ended`,
    limitMs: LIMIT_MS,
  });
  await endProcesses(cgroup);
  deleteLink(node.port);
  rmSync(run, { recursive: true, force: true });
  removeCgroup(cgroup);
}

/** Kills whatever is in a cgroup of ours and below, until nothing is. */
export async function endProcesses(cgroup: string): Promise<void> {
  await waitFor(
    () => {
      const left = cgroupTreeProcesses(cgroup).filter((pid) => recordOf(pid) !== undefined);
      for (const pid of left) signalProcess(recordOf(pid), 'SIGKILL');
      return left.length === 0 ? true : undefined;
    },
    { what: `the processes in ${cgroup} have ended`, limitMs: LIMIT_MS },
  );
}

/** How nsenter(1) runs a command on a node. */
export function onNode(init: ProcessRecord, command: readonly string[]): string[] {
  return [
    ...['--target', String(init.pid), '--mount', '--uts', '--ipc', '--net', '--pid'],
    ...['--', ...command],
  ];
}

/** The one child of a process that has just been launched; undefined when there is none yet, `unavailable` when it ended instead. */
export function onlyChild(launcher: number, log: string): ProcessRecord | undefined {
  if (recordOf(launcher) === undefined)
    throw unavailable(`it did not start:\n${lastLines(log)}`, { hint: `The log is ${log}` });
  const child = readIfThere(`/proc/${launcher}/task/${launcher}/children`)?.trim().split(' ')[0];
  return child === undefined || child === '' ? undefined : recordOf(Number(child));
}

/** The init once it is what it will be: before that, its mounts may still be the host's. */
function initBelow(launcher: number, log: string): ProcessRecord | undefined {
  const child = onlyChild(launcher, log);
  if (child === undefined) return undefined;
  return readIfThere(`/proc/${child.pid}/comm`)?.trim() === INIT ? child : undefined;
}

/** The last lines of a log, to be shown with an error. */
export function lastLines(log: string): string {
  return (readIfThere(log) ?? '').trimEnd().split('\n').slice(-5).join('\n');
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

function hostsFile(state: CloudState): string {
  const lines = state.nodes.map(({ address, name }) => `${address}\t${name}`);
  return ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost', ...lines, ''].join('\n');
}

/** Where /etc/resolv.conf leads into /run, the node's own /run has a copy of what is there. */
function writeResolver(run: string): void {
  const path = '/etc/resolv.conf';
  const real = existsSync(path) ? realpathSync(path) : path;
  if (!real.startsWith('/run/')) return;
  const copy = join(run, real.slice('/run/'.length));
  mkdirSync(dirname(copy), { recursive: true });
  cpSync(real, copy);
}
