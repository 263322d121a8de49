import { z } from 'zod';
import { BULK_PREFIX } from '#cluster/transport/transport.ts';

/**
 * A node reads an image of another one. It says which ({@link ImageRequest}); the answer is an {@link ImageHeader}, the manifest as bytes, and
 * the configuration as bytes. Then it asks for layers, one after the other ({@link LayerRequest}); the answer is {@link LayerHeader} and the
 * archive as bytes, in several messages, or that the node has enough to do ({@link Busy}).
 */
export const IMAGE_METHOD: string = `${BULK_PREFIX}image`;

/** Of an archive in one message. */
export const CHUNK_BYTES: number = 256 * 1024;
/** Who neither takes nor gives a byte for so long has stalled. */
export const STALL_MS = 30_000;
/** A layer that was made on a node is made into an archive again before its first byte comes. */
export const LAYER_WAIT_MS: number = 10 * 60_000;

const DIGEST = z.string().regex(/^sha256:[0-9a-f]{64}$/);

export interface ImageRequest {
  /** A name, an ID, or a name with a digest. */
  readonly image: string;
}

export const ImageRequest: z.ZodType<ImageRequest> = z.object({ image: z.string().max(1024) });

export interface ImageHeader {
  /** Digests that repositories have the image under, as `NAME@DIGEST`. */
  readonly repoDigests: readonly string[];
}

export const ImageHeader: z.ZodType<ImageHeader> = z.object({
  repoDigests: z.array(z.string().max(512)).max(1000),
});

export interface LayerRequest {
  /** A diff ID of the image. */
  readonly layer: string;
}

export const LayerRequest: z.ZodType<LayerRequest> = z.object({ layer: DIGEST });

export interface Busy {
  readonly kind: 'busy';
}

/** What comes: the archive as the node has it, compressed or not. */
export interface LayerHeader {
  readonly kind: 'layer';
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

export const LayerAnswer: z.ZodType<Busy | LayerHeader> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('busy') }),
  z.object({ kind: z.literal('layer'), digest: DIGEST, size: z.int().nonnegative() }),
]);
