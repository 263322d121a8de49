import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { syncDirectory, writePrivateFile } from '#cluster/ca/key-file.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid, messageOf } from '#model/errors.ts';

/** What a node knows of itself while it is in a cluster, besides its certificates. */
export interface NodeState {
  readonly version: 1;
  readonly nodeId: string;
  readonly clusterId: string;
  /** `host:port` that it listens on. */
  readonly listenAddress: string;
  /** `host:port` that other nodes reach it at. */
  readonly advertiseAddress: string;
  /** The IP address of its VXLAN packets. */
  readonly dataPathAddress: string;
  /** `host:port` of the managers, when one last said so. */
  readonly managers: readonly string[];
  /** Where a manager's store is; a worker has none. */
  readonly store: 'none' | 'sqlite' | 'etcd';
}

const ADDRESS = z.string().max(300);

const NODE_STATE: z.ZodType<NodeState> = z.object({
  version: z.literal(1),
  nodeId: z.string().max(64),
  clusterId: z.string().max(64),
  listenAddress: ADDRESS,
  advertiseAddress: ADDRESS,
  dataPathAddress: ADDRESS,
  managers: z.array(ADDRESS).max(1000),
  store: z.enum(['none', 'sqlite', 'etcd']),
});

/** DATA/cluster and what lies in it. */
export class NodeStateFile {
  readonly directory: string;
  readonly #path: string;

  constructor(dataRoot: string) {
    this.directory = join(dataRoot, 'cluster');
    this.#path = join(this.directory, 'node.json');
  }

  /** Whether the node is in a cluster, or was when it was stopped. */
  isThere(): boolean {
    return existsSync(this.#path);
  }

  /** Undefined when the node is in no cluster; `invalid` for a file that cannot be read. */
  read(): NodeState | undefined {
    try {
      return NODE_STATE.parse(JSON.parse(readFileSync(this.#path, 'utf8')));
    } catch (cause) {
      if (hasCode(cause, 'ENOENT')) return undefined;
      throw invalid(`${this.#path} cannot be read: ${messageOf(cause)}`, { cause });
    }
  }

  /** On disk, whole, when this returns. */
  write(state: NodeState): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    writePrivateFile(`${this.#path}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
    renameSync(`${this.#path}.new`, this.#path);
    syncDirectory(this.directory);
  }

  /** Removes everything: the node is in no cluster any more. The state goes first, so that what a crash leaves is nobody's. */
  remove(): void {
    rmSync(this.#path, { force: true });
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** What a node knows of itself now, on its disk as in memory. */
export class KeptNodeState {
  readonly #file: NodeStateFile;
  #current: NodeState;

  /** `current` is on the disk already. */
  constructor(file: NodeStateFile, current: NodeState) {
    this.#file = file;
    this.#current = current;
  }

  get current(): NodeState {
    return this.#current;
  }

  /** On disk when this returns. */
  change(change: Partial<NodeState>): void {
    this.#current = { ...this.#current, ...change };
    this.#file.write(this.#current);
  }

  /** `host:port` of all managers: this node first, where it is one. */
  get managers(): string[] {
    const { store, advertiseAddress, managers } = this.#current;
    return [...new Set([...(store === 'none' ? [] : [advertiseAddress]), ...managers])];
  }

  /** `host:port` of the managers besides this node. */
  get otherManagers(): string[] {
    const { advertiseAddress, managers } = this.#current;
    return managers.filter((address) => address !== advertiseAddress);
  }
}
