import { join } from 'node:path';
import type { WriterLease } from '#cluster/agent/agent.ts';
import type { TaskEngine, TaskNetworks } from '#cluster/agent/task-engine.ts';
import type { NodeAttachments } from '#cluster/attachments/node-attachments.ts';
import { CertificateFiles } from '#cluster/ca/certificate-files.ts';
import type { SealingKey } from '#cluster/ca/sealing.ts';
import type { ImageExchange } from '#cluster/images/image-exchange.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import type { NodeDescription } from '#model/node.ts';
import { type NodeState, NodeStateFile } from './node-state.ts';

/** What a node in a cluster needs of its machine. */
export interface NodeMachine {
  readonly engine: TaskEngine;
  readonly networks: TaskNetworks;
  /** What ends single writers though this process hangs or is dead. */
  readonly fence?: WriterLease;
  describe(): Promise<NodeDescription>;
  /** Calls back when the description may have changed, until `signal` aborts. */
  watchDescription(onChange: () => void, signal: AbortSignal): void;
  /** Serves this machine's images to the other nodes, and fetches theirs. */
  readonly images: Pick<ImageExchange, 'join'>;
  /** Puts this machine's plain containers on the cluster's networks. */
  readonly attachments: Pick<NodeAttachments, 'join' | 'leave' | 'network'>;
  /** `NAME:TAG@DIGEST` of an image, as its registry says it, or this machine where none does. */
  resolveImage(image: string, registryAuth: string | undefined): Promise<string>;
  /** The name of a network of this host, by its name or ID. */
  localNetwork(reference: string): string | undefined;
  /** True for the interfaces of containers' networks. */
  isOwnInterface(name: string): boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly report: (message: string, details: object) => void;
}

/** The files of a node. */
export interface NodeFiles {
  readonly state: NodeStateFile;
  readonly certificates: CertificateFiles;
  /** Where a manager's key lies. */
  readonly keyPath: string;
  /** Where etcd finds its key and its certificates: in memory alone, and there as long as etcd may run. */
  readonly etcdMemory: string;
}

/** Where the files of a daemon's node are. */
export function nodeFilesOf(o: { readonly dataRoot: string; readonly execRoot: string }): NodeFiles {
  const state = new NodeStateFile(o.dataRoot);
  return {
    state,
    certificates: new CertificateFiles(join(state.directory, 'certificates')),
    keyPath: join(state.directory, 'manager.key'),
    etcdMemory: join(o.execRoot, 'etcd'),
  };
}

/** What a node begins with. */
export interface Beginning {
  readonly state: NodeState;
  /** A manager's; on the disk it may lie sealed already. */
  readonly managerKey: SealingKey | undefined;
}
