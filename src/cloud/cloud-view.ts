import { type CloudPlace, type CloudRoot, cloudPlace, nodePlace } from './cloud-place.ts';
import { type CloudState, listClouds, type NodeState, readCloud } from './cloud-state.ts';
import { cutFrom } from './cuts.ts';
import { answers } from './node-daemon.ts';
import { isRunning } from './process-record.ts';

export interface CloudView {
  name: string;
  subnet: string;
  nodes: NodeView[];
}

export interface NodeView {
  name: string;
  role: 'manager' | 'worker';
  /** `stopped` is a machine without a daemon, `off` no machine at all; `silent` a daemon that does not answer. */
  state: 'running' | 'silent' | 'stopped' | 'off';
  address: string;
  /** Names of nodes that it does not reach; `*` for everybody. */
  cutFrom: string[];
  socket: string;
  /** The daemon's process, as the host numbers it. */
  pid?: number;
}

/** The clouds of a root as they are now. */
export async function viewClouds(root: CloudRoot): Promise<CloudView[]> {
  return await Promise.all(listClouds(root).map(({ place, state }) => view(place, state)));
}

/** One of them; `not-found` where there is none. */
export async function viewCloud(root: CloudRoot, name: string): Promise<CloudView> {
  const place = cloudPlace(root, name);
  return await view(place, readCloud(place));
}

async function view(place: CloudPlace, state: CloudState): Promise<CloudView> {
  const nodes = state.nodes.map(async (node, index): Promise<NodeView> => {
    const { socket } = nodePlace(place, node.name);
    return {
      name: node.name,
      // the first nodes are the managers
      role: index < state.managers ? 'manager' : 'worker',
      state: await nodeState(node, socket),
      address: node.address,
      cutFrom: cutFrom(state.cuts, node.name),
      socket,
      ...(isRunning(node.daemon) ? { pid: node.daemon.pid } : {}),
    };
  });
  return { name: state.name, subnet: state.subnet, nodes: await Promise.all(nodes) };
}

async function nodeState(node: NodeState, socket: string): Promise<NodeView['state']> {
  if (!isRunning(node.init)) return 'off';
  if (!isRunning(node.daemon)) return 'stopped';
  return (await answers(socket)) ? 'running' : 'silent';
}
