import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { unavailable } from '#model/errors.ts';
import { type CloudPlace, nodePlace } from './cloud-place.ts';
import type { CloudState, NodeState } from './cloud-state.ts';
import { lastLines, onlyChild, onNode } from './node-machine.ts';
import { launch } from './process-launcher.ts';
import { isRunning, type ProcessRecord, signalProcess } from './process-record.ts';
import { waitFor } from './waiting.ts';

const DROVER = join(import.meta.dirname, '..', '..', 'bin', 'drover');
/** Five daemons that start at once on a small machine take their time. */
const START_LIMIT_MS = 180_000;
/** Longer than the daemon gives itself. */
const STOP_LIMIT_MS = 20_000;
const PING_LIMIT_MS = 2_000;

/** Starts the daemon of a node whose machine is on. It need not answer yet. */
export async function startDaemon(
  place: CloudPlace,
  state: CloudState,
  node: NodeState & { init: ProcessRecord },
): Promise<ProcessRecord> {
  const { log, cgroup } = nodePlace(place, node.name);
  const dataRoot = join(state.dataRoot, node.name);
  mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
  const flags = [
    ...['--host', 'unix:///run/drover.sock', '--data-root', dataRoot, '--exec-root', '/run/drover'],
    // the host's own settings are not a node's
    ...['--config-file', '/dev/null', '--cgroup-parent', join(cgroup, 'containers')],
    ...state.daemonFlags,
  ];
  const launcher = launch({
    program: 'nsenter',
    args: onNode(node.init, [DROVER, 'daemon', ...flags]),
    cgroup: join(cgroup, 'daemon'),
    log,
  });
  return await waitFor(() => onlyChild(launcher, log), {
    what: `the daemon of ${node.name} runs`,
    limitMs: START_LIMIT_MS,
  });
}

/** Resolves when the daemon answers; `unavailable` with the end of its log when it ends instead. */
export async function daemonAnswers(place: CloudPlace, node: NodeState): Promise<void> {
  const { log, socket } = nodePlace(place, node.name);
  const look = async (): Promise<true | undefined> => {
    if (await answers(socket)) return true;
    if (isRunning(node.daemon)) return undefined;
    throw unavailable(`the daemon of ${node.name} ended by itself:\n${lastLines(log)}`, {
      hint: `The whole log: drover cloud logs ${place.name} ${node.name}`,
    });
  };
  await waitFor(look, { what: `the daemon of ${node.name} answers`, limitMs: START_LIMIT_MS });
}

/** Ends the daemon alone and waits for that: containers go on. Nothing where it does not run. */
export async function endDaemon(node: NodeState, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  signalProcess(node.daemon, signal);
  await waitFor(() => (isRunning(node.daemon) ? undefined : true), {
    what: `the daemon of ${node.name} has ended`,
    limitMs: STOP_LIMIT_MS,
  });
}

/** Whether a daemon says so itself within two seconds. */
export function answers(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const call = request({ socketPath, path: '/_ping', agent: false, timeout: PING_LIMIT_MS }, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  });
  call.once('timeout', () => call.destroy());
  call.once('error', () => resolve(false));
  call.once('close', () => resolve(false));
  call.end();
  return promise;
}
