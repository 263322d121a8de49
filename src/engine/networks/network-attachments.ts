import type { ContainerRecord, EndpointSettings } from '#model/container.ts';
import { notFound } from '#model/errors.ts';
import type { NetworkRecord } from '#model/network.ts';
import { networkOfMode } from './endpoint-request.ts';
import { dnsNames } from './live-endpoints.ts';

/** On containers that are a cluster's tasks, whose places the cluster gave before it made them. */
const TASK_LABEL = 'com.docker.swarm.task';

/** A plain container's place on a network of the cluster. It is not given back before it is disposed of, however little uses it yet. */
export interface AttachedPlace extends Disposable {
  readonly networkId: string;
  /** Without a prefix length. */
  readonly address: string;
}

/** Who gives plain containers their places on networks of the cluster, and takes them back when they do not run any more. */
export interface NetworkAttacher {
  /** Resolves when the network is there on this host, and the address this container's. Throws why it cannot be. */
  attach(o: {
    readonly network: string;
    readonly containerId: string;
    readonly names: readonly string[];
    readonly address?: string;
  }): Promise<AttachedPlace>;
  /** The name of a network that a container may be attached to. */
  find(reference: string): Promise<string>;
  /** Resolves when somebody can be asked. */
  ready(signal: AbortSignal): Promise<void>;
}

/** Which containers need places on networks of the cluster, and the way to them. */
export class NetworkAttachments {
  readonly #lookUp: (reference: string) => NetworkRecord | undefined;
  readonly #opened = Promise.withResolvers<void>();
  #attacher: NetworkAttacher | undefined;

  constructor(lookUp: (reference: string) => NetworkRecord | undefined) {
    this.#lookUp = lookUp;
  }

  /** From now on the attacher is asked; undefined: this host is in no cluster. */
  open(attacher: NetworkAttacher | undefined): void {
    this.#attacher = attacher ?? this.#attacher;
    this.#opened.resolve();
  }

  /** Resolves when nothing that is not there yet keeps the container from its networks; `cancelled` when `signal` aborts. */
  async ready(container: ContainerRecord, signal: AbortSignal): Promise<void> {
    if (this.#shared(container).length === 0) return;
    await this.#opened.promise;
    await this.#attacher?.ready(signal);
  }

  /** Places for all networks of the cluster that a container asks for, by the reference that it asks with. */
  async attachAll(container: ContainerRecord): Promise<AttachedPlaces> {
    using places = new DisposableStack();
    const given = new Map<string, AttachedPlace>();
    for (const reference of this.#shared(container)) {
      const place = await this.attach(container, reference, container.networks[reference]);
      if (place !== undefined) given.set(reference, places.use(place));
    }
    return new AttachedPlaces(given, places.move());
  }

  /** A place on one network; undefined for a network of this host, and for a task. `not-found` where there is no cluster to ask. */
  async attach(
    container: ContainerRecord,
    reference: string,
    endpoint: EndpointSettings | undefined,
  ): Promise<AttachedPlace | undefined> {
    if (!this.#isShared(container, reference)) return undefined;
    const address = endpoint?.IPAMConfig?.IPv4Address ?? '';
    return await this.#asked(reference).attach({
      ...{ network: reference, containerId: container.id },
      names: dnsNames(container, { Aliases: endpoint?.Aliases ?? null }),
      ...(address === '' ? {} : { address }),
    });
  }

  /** The name of a network that a container which does not run is to be on later; undefined for a network of this host. */
  async find(container: ContainerRecord, reference: string): Promise<string | undefined> {
    return this.#isShared(container, reference) ? await this.#asked(reference).find(reference) : undefined;
  }

  #asked(reference: string): NetworkAttacher {
    if (this.#attacher === undefined) throw notFound(`network ${reference} not found`);
    return this.#attacher;
  }

  /** What a container asks for that is not this host's. */
  #shared(container: ContainerRecord): string[] {
    const mode = networkOfMode(container.hostConfig.NetworkMode);
    if (mode === 'host' || mode.startsWith('container:')) return [];
    return Object.keys(container.networks).filter((reference) => this.#isShared(container, reference));
  }

  #isShared(container: ContainerRecord, reference: string): boolean {
    return !isTask(container) && (this.#lookUp(reference)?.Driver ?? 'overlay') === 'overlay';
  }
}

/** Places by the reference that a container asks with. */
export class AttachedPlaces implements Disposable {
  readonly #places: ReadonlyMap<string, AttachedPlace>;
  readonly #stack: DisposableStack;

  constructor(places: ReadonlyMap<string, AttachedPlace>, stack: DisposableStack) {
    this.#places = places;
    this.#stack = stack;
  }

  get(reference: string): AttachedPlace | undefined {
    return this.#places.get(reference);
  }

  [Symbol.dispose](): void {
    this.#stack[Symbol.dispose]();
  }
}

/** True for a container that is a cluster's task. */
export function isTask({ config }: Pick<ContainerRecord, 'config'>): boolean {
  return TASK_LABEL in config.Labels;
}
