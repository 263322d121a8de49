import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { invalid } from '#model/errors.ts';

/** The kernel's limit for a unix socket's path, without its closing zero (unix(7)). */
const LONGEST_SOCKET_PATH = 107;

/** Where the clouds of one root are. */
export interface CloudRoot {
  /** A directory a cloud: its record, data and logs. */
  lib: string;
  /** A directory a cloud: what does not outlive the machine. */
  run: string;
}

/** What belongs to one cloud, by names that follow from where it is: it can be taken away when its record is lost. */
export interface CloudPlace {
  name: string;
  lockFile: string;
  lib: string;
  run: string;
  stateFile: string;
  /** Eight hexadecimal digits, another for each cloud of this machine. */
  id: string;
  bridge: string;
  /** Of nftables, in the families bridge and ip. */
  table: string;
  cgroup: string;
}

/** The files and directories of one node. */
export interface NodePlace {
  /** What the node sees as /run. */
  run: string;
  socket: string;
  log: string;
  /** Of all its processes; the daemon's are in `daemon` below it, the containers' in `containers`. */
  cgroup: string;
}

/** `root` puts everything below one directory; it stands before DROVER_CLOUD_ROOT. */
export function cloudRoot(root: string | undefined = process.env['DROVER_CLOUD_ROOT']): CloudRoot {
  if (root === undefined || root === '') return { lib: '/var/lib/drover-cloud', run: '/run/drover-cloud' };
  return { lib: join(resolve(root), 'lib'), run: join(resolve(root), 'run') };
}

/** `invalid` for a name that could not be part of host names and paths. */
export function cloudPlace(root: CloudRoot, name: string): CloudPlace {
  if (!/^[a-z0-9][a-z0-9-]{0,29}$/.test(name))
    throw invalid(`invalid name of a cloud: ${name}: use a-z, 0-9 and -, at most 30`);
  const run = join(root.run, name);
  const id = createHash('sha256').update(run).digest('hex').slice(0, 8);
  return {
    name,
    lockFile: join(root.run, 'lock'),
    lib: join(root.lib, name),
    run,
    stateFile: join(root.lib, name, 'cloud.json'),
    id,
    bridge: `dc${id}`,
    table: `drover_cloud_${id}`,
    cgroup: `/${run.slice(1).replaceAll('/', '_')}`,
  };
}

/** `invalid` where the path to the node's socket is longer than the kernel takes. */
export function nodePlace(cloud: CloudPlace, node: string): NodePlace {
  const run = join(cloud.run, node);
  const socket = join(run, 'drover.sock');
  if (Buffer.byteLength(socket) > LONGEST_SOCKET_PATH)
    throw invalid(`the socket's path ${socket} is longer than the kernel's ${LONGEST_SOCKET_PATH} bytes`, {
      hint: 'Name a shorter directory with --root or DROVER_CLOUD_ROOT.',
    });
  return { run, socket, log: join(cloud.lib, `${node}.log`), cgroup: join(cloud.cgroup, node) };
}
