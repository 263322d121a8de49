import { conflict, invalid } from '#model/errors.ts';
import { type CloudRoot, cloudPlace, nodePlace } from './cloud-place.ts';
import { nodeOf, readCloud } from './cloud-state.ts';
import { onNode } from './node-machine.ts';
import { runInForeground } from './process-launcher.ts';
import { isRunning } from './process-record.ts';

/** Runs a command on a node as somebody would who is logged in there, `docker` included; resolves with its exit code. `conflict` where the node is off. */
export async function runOnNode(
  root: CloudRoot,
  name: string,
  node: string,
  command: readonly string[],
): Promise<number> {
  const { init } = nodeOf(readCloud(cloudPlace(root, name)), node);
  if (!isRunning(init))
    throw conflict(`node ${node} is off`, { hint: `Start it with: drover cloud start ${name} ${node}` });
  // whichever node the caller's shell talks to: here it is this one
  const environment = { DOCKER_HOST: 'unix:///run/drover.sock' };
  return await runInForeground('nsenter', onNode(init, command), environment);
}

/** Prints what the daemons of a node wrote, or the last `tail` lines; resolves with the exit code of tail(1), which does it. */
export async function printLog(
  root: CloudRoot,
  name: string,
  node: string,
  o: { follow: boolean; tail: string },
): Promise<number> {
  const place = cloudPlace(root, name);
  const { log } = nodePlace(place, nodeOf(readCloud(place), node).name);
  if (o.tail !== 'all' && !/^\d+$/.test(o.tail)) throw invalid(`invalid --tail ${o.tail}: a number, or all`);
  const lines = o.tail === 'all' ? '+1' : o.tail;
  return await runInForeground('tail', ['-n', lines, ...(o.follow ? ['-f'] : []), '--', log]);
}
