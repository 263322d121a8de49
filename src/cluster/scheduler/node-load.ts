import type { NodeRecord } from '#model/node.ts';
import type { GenericResource } from '#model/task-spec.ts';
import { GenericPool } from './generic-resources.ts';
import type { TaskRequirements } from './task-requirements.ts';

/** What one task takes of its node. */
export interface Footprint {
  readonly serviceId: string;
  readonly requirements: TaskRequirements;
  /** The generic resources that it was given. */
  readonly generic: readonly GenericResource[];
  /** False for one that is being ended: it holds what it has, but is no replica any more. */
  readonly counted: boolean;
}

/** One node and what its tasks hold of it. Numbers only: it costs the same for one task as for thousands. */
export class NodeLoad {
  readonly id: string;
  /** A small number that no other node of the table has. */
  readonly slot: number;
  /** Other whenever the record is. */
  version = 0;
  nanoCpus = 0;
  memoryBytes = 0;
  reservedNanoCpus = 0;
  reservedMemoryBytes = 0;
  /** Tasks that hold something of the node. */
  held = 0;
  /** Of these the ones that are wanted. */
  tasks = 0;
  readonly generic: GenericPool = new GenericPool();
  /** `8080/tcp` → tasks that have it. */
  readonly hostPorts: Map<string, number> = new Map();
  #record: NodeRecord | undefined;
  #available = false;
  #images: ReadonlySet<string> = NONE;
  #volumes: ReadonlySet<string> = NONE;

  constructor(id: string, slot: number) {
    this.id = id;
    this.slot = slot;
  }

  /** Undefined for a node that is gone, or not known yet, while tasks are still said to be on it. */
  get record(): NodeRecord | undefined {
    return this.#record;
  }

  /** It is there and takes new tasks. */
  get available(): boolean {
    return this.#available;
  }

  get images(): ReadonlySet<string> {
    return this.#images;
  }

  get volumes(): ReadonlySet<string> {
    return this.#volumes;
  }

  /** What people call it. */
  get name(): string {
    return this.#record?.Description?.Hostname || this.id;
  }

  setRecord(record: NodeRecord | undefined, version: number): void {
    const { Resources, images = [], volumes = [] } = record?.Description ?? {};
    this.#record = record;
    this.version = version;
    this.#available = record?.Status.State === 'ready' && record.Spec.Availability === 'active';
    this.nanoCpus = Resources?.NanoCPUs ?? 0;
    this.memoryBytes = Resources?.MemoryBytes ?? 0;
    this.generic.setCapacity(Resources?.GenericResources ?? []);
    this.#images = images.length > 0 ? new Set(images) : NONE;
    this.#volumes = volumes.length > 0 ? new Set(volumes) : NONE;
  }

  /** Takes a task's share (`sign` 1) or gives it back (-1). */
  account({ requirements, generic, counted }: Footprint, sign: 1 | -1): void {
    this.held += sign;
    if (counted) this.tasks += sign;
    this.reservedNanoCpus += sign * requirements.nanoCpus;
    this.reservedMemoryBytes += sign * requirements.memoryBytes;
    if (generic.length > 0) this.generic.use(generic, sign);
    for (const port of requirements.hostPorts) {
      const users = (this.hostPorts.get(port) ?? 0) + sign;
      if (users === 0) this.hostPorts.delete(port);
      else this.hostPorts.set(port, users);
    }
  }

  /** From 0 to 1: the mean of what is reserved of processors and memory. */
  get fullness(): number {
    return (
      (share(this.reservedNanoCpus, this.nanoCpus) + share(this.reservedMemoryBytes, this.memoryBytes)) / 2
    );
  }
}

const NONE: ReadonlySet<string> = new Set();

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
