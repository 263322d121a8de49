import type { ImageStore } from '#engine/images/image-store.ts';
import { parseReference } from '#engine/images/reference.ts';
import { cancelled, DroverError, kindOf, messageOf, notFound } from '#model/errors.ts';
import { parseRegistryAuth } from '#registry/credentials.ts';
import type { ImagePuller } from '#registry/image-puller.ts';

/** Brings an image from where no registry is, such as another node, into the store; false where there is none. */
export type FetchImage = (reference: string, signal: AbortSignal) => Promise<boolean>;

interface Fetching {
  readonly done: Promise<void>;
  readonly stop: AbortController;
  waiting: number;
}

/** Sees to it that the images of tasks are there. What is wanted several times at once is fetched once. */
export class ImageSupply {
  readonly #images: Pick<ImageStore, 'resolve'>;
  readonly #puller: Pick<ImagePuller, 'pull'>;
  readonly #fetchImage: FetchImage | undefined;
  readonly #underWay = new Map<string, Fetching>();

  constructor(o: {
    images: Pick<ImageStore, 'resolve'>;
    puller: Pick<ImagePuller, 'pull'>;
    fetchImage?: FetchImage | undefined;
  }) {
    this.#images = o.images;
    this.#puller = o.puller;
    this.#fetchImage = o.fetchImage;
  }

  /**
   * Resolves when the image (a name or an ID) is in the store; one that is there is not looked for elsewhere. `not-found` with
   * Docker's text where nobody has it, `unavailable` where a registry did not answer, `cancelled` when `signal` aborts; the fetching
   * goes on as long as anybody waits for it.
   */
  async ensure(image: string, o: { registryAuth?: string | undefined; signal: AbortSignal }): Promise<void> {
    if (this.#isThere(image)) return;
    const key = JSON.stringify([image, o.registryAuth]);
    const fetching = this.#underWay.get(key) ?? this.#begin(key, image, o.registryAuth);
    fetching.waiting += 1;
    try {
      await unlessAborted(fetching.done, image, o.signal);
    } finally {
      fetching.waiting -= 1;
      if (fetching.waiting === 0) {
        // the next who wants it does not wait for one that is being given up
        if (this.#underWay.get(key) === fetching) this.#underWay.delete(key);
        fetching.stop.abort();
      }
    }
  }

  #begin(key: string, image: string, registryAuth: string | undefined): Fetching {
    const stop = new AbortController();
    const done = this.#fetch(image, registryAuth, stop.signal);
    const fetching = { done, stop, waiting: 0 };
    this.#underWay.set(key, fetching);
    return fetching;
  }

  async #fetch(image: string, registryAuth: string | undefined, signal: AbortSignal): Promise<void> {
    let failure: unknown;
    try {
      await this.#pull(image, registryAuth, signal);
      return;
    } catch (error) {
      if (signal.aborted || kindOf(error) === 'invalid') throw error;
      failure = error;
    }
    if ((await this.#fetchImage?.(image, signal)) === true && this.#isThere(image)) return;
    throw missing(image, failure);
  }

  async #pull(image: string, registryAuth: string | undefined, signal: AbortSignal): Promise<void> {
    // an ID is no name that a registry knows
    if (/^sha256:[0-9a-f]{64}$/.test(image)) throw notFound(`No such image: ${image}`);
    const reference = parseReference(image);
    const credentials = parseRegistryAuth(registryAuth);
    await this.#puller.pull({ reference, credentials, report: () => undefined, signal });
  }

  #isThere(image: string): boolean {
    try {
      this.#images.resolve(image);
      return true;
    } catch (error) {
      if (kindOf(error) === 'not-found') return false;
      throw error;
    }
  }
}

/** What a registry refuses to tell from what it does not have, is said as Docker says it; the reason is the hint. */
function missing(image: string, failure: unknown): unknown {
  const kind = kindOf(failure);
  if (kind !== 'not-found' && kind !== 'unauthorized' && kind !== 'forbidden') return failure;
  const why = messageOf(failure);
  const message = `No such image: ${image}`;
  if (failure instanceof DroverError && why === message) return failure;
  return notFound(message, { hint: why, cause: failure });
}

/** The result, or `cancelled` as soon as the signal aborts. */
async function unlessAborted(done: Promise<void>, image: string, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(cancelled(`fetching ${image} was cancelled`));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([done, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
