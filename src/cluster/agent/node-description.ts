import { availableParallelism, hostname, totalmem } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { VolumeStore } from '#engine/volumes/volume-store.ts';
import type { NodeDescription, NodeEncryption } from '#model/node.ts';
import type { GenericResource } from '#model/task-spec.ts';

const BILLION = 1_000_000_000;
/** Of images, and of volumes: what the scheduler is told of a node stays small. */
const MOST_NAMES = 1000;

/** What this engine can be given, as Docker lists it. */
const PLUGINS: readonly { Type: string; Name: string }[] = [
  { Type: 'Log', Name: 'json-file' },
  { Type: 'Log', Name: 'local' },
  { Type: 'Network', Name: 'bridge' },
  { Type: 'Network', Name: 'host' },
  { Type: 'Network', Name: 'null' },
  { Type: 'Network', Name: 'overlay' },
  { Type: 'Volume', Name: 'local' },
];

/** Where a node knows from what it has to say of its encrypting. */
export interface EncryptionStanding {
  readonly standing: NodeEncryption;
  watch(onChange: () => void, signal: AbortSignal): void;
}

/**
 * What this machine says of itself to a cluster. The same object as long as nothing has changed, so that who sends it can tell by
 * identity that there is nothing to send. Lists of images and volumes are read again only after the engine announced a change.
 */
export class NodeDescriber implements Disposable {
  readonly #images: Pick<ImageStore, 'list'>;
  readonly #volumes: Pick<VolumeStore, 'list'>;
  readonly #fixed: { version: string; labels: Record<string, string>; resources: readonly GenericResource[] };
  readonly #subscription: Disposable;
  readonly #encryption: EncryptionStanding;
  readonly #listeners = new Set<() => void>();
  #content: { images: string[]; volumes: string[] } | undefined;
  #last: NodeDescription | undefined;

  constructor(o: {
    images: Pick<ImageStore, 'list'>;
    volumes: Pick<VolumeStore, 'list'>;
    events: EventBus;
    engineVersion: string;
    /** The daemon's, `KEY=VALUE`. */
    labels: readonly string[];
    genericResources: readonly GenericResource[];
    encryption: EncryptionStanding;
  }) {
    this.#encryption = o.encryption;
    this.#images = o.images;
    this.#volumes = o.volumes;
    this.#fixed = { version: o.engineVersion, labels: labelMap(o.labels), resources: o.genericResources };
    this.#subscription = o.events.subscribe(({ Type, Action }) => {
      if (!['image', 'volume', 'builder'].includes(Type) || Action === 'mount' || Action === 'unmount')
        return;
      this.#content = undefined;
      for (const listener of [...this.#listeners]) listener();
    });
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#listeners.clear();
  }

  describe(): NodeDescription {
    this.#content ??= { images: this.#imageNames(), volumes: this.#volumeNames() };
    const { version, labels, resources } = this.#fixed;
    const now: NodeDescription = {
      Hostname: hostname(),
      Platform: { Architecture: architecture(), OS: 'linux' },
      Resources: {
        NanoCPUs: availableParallelism() * BILLION,
        MemoryBytes: totalmem(),
        ...(resources.length === 0 ? {} : { GenericResources: [...resources] }),
      },
      Engine: { EngineVersion: version, Labels: { ...labels }, Plugins: [...PLUGINS] },
      ...this.#content,
      encryption: this.#encryption.standing,
    };
    if (!isDeepStrictEqual(now, this.#last)) this.#last = now;
    return this.#last ?? now;
  }

  /** Calls back when the description may have changed, several times for one change, until `signal` aborts; must not throw. */
  watch(onChange: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    const listener = (): void => onChange();
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
    this.#encryption.watch(listener, signal);
  }

  /** Names first, for services are asked for by name; then what pins an image: an ID where no repository has it, or digests; then other IDs. */
  #imageNames(): string[] {
    const all = this.#images.list();
    const sorted = (names: string[]): string[] => [...new Set(names)].sort();
    return [
      ...sorted(all.flatMap(({ repoTags }) => repoTags)),
      ...sorted(all.flatMap(({ id, repoDigests }) => (repoDigests.length === 0 ? [id] : []))),
      ...sorted(all.flatMap(({ repoDigests }) => repoDigests)),
      ...sorted(all.flatMap(({ id, repoDigests }) => (repoDigests.length === 0 ? [] : [id]))),
    ].slice(0, MOST_NAMES);
  }

  #volumeNames(): string[] {
    // volumes without a name of their own are nobody's to ask for
    const named = this.#volumes.list().filter(({ anonymous }) => !anonymous);
    return named
      .map(({ Name }) => Name)
      .sort()
      .slice(0, MOST_NAMES);
  }
}

/** uname(1)'s word, as Docker's nodes say it. */
function architecture(): string {
  const words: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };
  return words[process.arch] ?? process.arch;
}

function labelMap(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const equals = label.indexOf('=');
      return [label.slice(0, equals), label.slice(equals + 1)];
    }),
  );
}
