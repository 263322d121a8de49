import { formatPlatform, type Platform, platformMatches } from '#engine/images/image-documents.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import { parseReference } from '#engine/images/reference.ts';
import { kindOf, notFound } from '#model/errors.ts';
import type { Image, ProgressLine } from '#model/image.ts';
import type { StepProgress } from './build-progress.ts';
import type { BuildRequest } from './build-request.ts';

/** Fetches an image that is not here: the registry client's part. */
export type PullImage = (o: {
  reference: string;
  platform: string;
  report: (line: ProgressLine) => void;
  signal: AbortSignal;
  request: BuildRequest;
}) => Promise<Image>;

/** The images that stages stand on: those that are here, and with `pull`, or where they are not, those of their registry. */
export class BaseImages {
  readonly #images: ImageStore;
  readonly #pull: PullImage;
  readonly #request: BuildRequest;
  readonly #signal: AbortSignal;
  readonly #used = new Map<string, { reference: string; digest: string }>();
  readonly #known = new Map<string, Promise<{ image: Image; digest: string; wasHere: boolean }>>();

  constructor(o: { images: ImageStore; pull: PullImage; request: BuildRequest; signal: AbortSignal }) {
    this.#images = o.images;
    this.#pull = o.pull;
    this.#request = o.request;
    this.#signal = o.signal;
  }

  /** What was asked for and found. */
  used(): { reference: string; digest: string }[] {
    return [...this.#used.values()];
  }

  /** The image, and the digest it is known by; asked for once, however many stages stand on it. */
  async resolve(
    reference: string,
    platform: Platform,
    step: StepProgress,
  ): Promise<{ image: Image; digest: string; wasHere: boolean }> {
    const key = `${reference} ${formatPlatform(platform)}`;
    const known = this.#known.get(key) ?? this.#find(reference, platform, step);
    this.#known.set(key, known);
    const found = await known;
    this.#used.set(key, { reference, digest: found.digest });
    return found;
  }

  async #find(
    reference: string,
    platform: Platform,
    step: StepProgress,
  ): Promise<{ image: Image; digest: string; wasHere: boolean }> {
    const here = this.#local(reference);
    const fits = here !== undefined && platformMatches(here.configuration, platform);
    if (fits && !this.#request.pull)
      return { image: here, digest: digestOfBase(here, reference), wasHere: true };
    try {
      const image = await this.#pull({
        reference,
        platform: formatPlatform(platform),
        report: (line) => {
          const { current, total } = line.progressDetail ?? {};
          if (line.id !== undefined && current !== undefined && total !== undefined)
            step.transfer(line.id, current, total);
        },
        signal: this.#signal,
        request: this.#request,
      });
      return { image, digest: digestOfBase(image, reference), wasHere: image.id === here?.id };
    } catch (error) {
      // An image that was only ever here has no registry to be fetched from.
      if (fits && here.repoDigests.length === 0)
        return { image: here, digest: digestOfBase(here, reference), wasHere: true };
      if (here !== undefined && !fits && kindOf(error) !== 'cancelled')
        throw notFound(
          `the image here is for ${formatPlatform(here.configuration)}, and none for ${formatPlatform(platform)} can be pulled`,
          { cause: error },
        );
      throw error;
    }
  }

  #local(reference: string): Image | undefined {
    try {
      return this.#images.resolve(reference);
    } catch (error) {
      if (kindOf(error) === 'not-found') return undefined;
      throw error;
    }
  }
}

/** What its repository has it under, or else its manifest's. */
function digestOfBase(image: Image, reference: string): string {
  const parsed = parseReference(reference.startsWith('sha256:') ? 'unnamed' : reference);
  if (parsed.digest !== undefined) return parsed.digest;
  const known = image.repoDigests.map(parseReference).find(({ name }) => name === parsed.name);
  return known?.digest ?? image.manifestDigest;
}
