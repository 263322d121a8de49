import type { ImageStore } from '#engine/images/image-store.ts';
import { parseReference } from '#engine/images/reference.ts';
import { cancelled, DroverError, kindOf, messageOf, notFound } from '#model/errors.ts';
import { parseRegistryAuth } from '#registry/credentials.ts';
import type { ImagePuller } from '#registry/image-puller.ts';

/** Of an image that was looked for elsewhere: that it is in the store now, or what was tried and why that did not help. */
export type FetchOutcome = { readonly fetched: true } | { readonly fetched: false; readonly because: string };

/** Brings an image from where no registry is, such as another node, into the store. */
export type FetchImage = (reference: string, signal: AbortSignal) => Promise<FetchOutcome>;

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
   * Resolves when the image (a name or an ID) is in the store; one that is there is not looked for elsewhere. Where nobody has it, Docker's
   * text and where it was looked for: `not-found`, or `unavailable` where a registry did not answer. `cancelled` when `signal` aborts; the
   * fetching goes on as long as anybody waits for it.
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
    const outcome = await this.#fetchImage?.(image, signal);
    if (outcome?.fetched === true && this.#isThere(image)) return;
    throw missing(image, failure, outcome);
  }

  async #pull(image: string, registryAuth: string | undefined, signal: AbortSignal): Promise<void> {
    // an ID is no name that a registry knows
    if (isId(image)) throw notFound(`No such image: ${image}`);
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

/** What a registry refuses to tell from what it does not have, is said as Docker says it, and then where it was looked for. */
function missing(image: string, failure: unknown, elsewhere: FetchOutcome | undefined): unknown {
  const kind = kindOf(failure);
  const isRefusal = kind === 'not-found' || kind === 'unauthorized' || kind === 'forbidden';
  if (!isRefusal && kind !== 'unavailable') return failure;
  const tried: string[] = [];
  if (!isId(image)) tried.push(`registry: ${messageOf(failure)}`);
  if (elsewhere?.fetched === false) tried.push(elsewhere.because);
  const message = `No such image: ${image}${tried.length === 0 ? '' : ` (${tried.join('; ')})`}`;
  return new DroverError(isRefusal ? 'not-found' : 'unavailable', message, { cause: failure });
}

function isId(image: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(image);
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
