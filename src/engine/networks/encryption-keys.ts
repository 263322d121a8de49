import { hkdfSync } from 'node:crypto';
import { AES_GCM_KEY_BYTES } from '#linux/xfrm-messages.ts';

/** Below are reserved: RFC 4303, 2.1. */
const FIRST_SPI = 256;

/** What makes the key of one direction between two nodes. */
export interface DirectionFacts {
  /** The cluster's key, base64. */
  readonly clusterKey: string;
  /** The sender's own contribution, which it takes for no two associations with one peer. */
  readonly salt: string;
  /** Node IDs. */
  readonly sender: string;
  readonly receiver: string;
}

/**
 * SPI and key of the association that packets of one direction go by, by HKDF-SHA256: both ends compute the same. Another sender,
 * receiver, salt or cluster key is another key, so that AES-GCM never sees the same key and sequence number twice.
 */
export function directionKey({ clusterKey, salt, sender, receiver }: DirectionFacts): {
  spi: number;
  key: Buffer;
} {
  const info = JSON.stringify(['drover esp', sender, receiver]);
  const secret = Buffer.from(clusterKey, 'base64');
  const bytes = Buffer.from(hkdfSync('sha256', secret, salt, info, AES_GCM_KEY_BYTES + 4));
  const number = bytes.readUInt32BE(AES_GCM_KEY_BYTES);
  return { spi: number < FIRST_SPI ? number + FIRST_SPI : number, key: bytes.subarray(0, AES_GCM_KEY_BYTES) };
}
