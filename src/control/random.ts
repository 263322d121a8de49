import { randomBytes } from 'node:crypto';

/** Chance as long-lived work sees it: passed in, so that simulations repeat. */
export interface Random {
  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number;
  /** 25 characters of `0-9a-z`, the form of Swarm's IDs; never the same twice. */
  id(): string;
}

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz';
const ID_LENGTH = 25;

/** 125 bits as 25 characters. */
export function idOf(bytes: Uint8Array): string {
  let value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  let text = '';
  for (let i = 0; i < ID_LENGTH; i++) {
    text = (ALPHABET[Number(value % 36n)] ?? '0') + text;
    value /= 36n;
  }
  return text;
}

/** The machine's. */
export const systemRandom: Random = {
  below: (limit) => randomBytes(6).readUIntBE(0, 6) % limit,
  id: () => idOf(randomBytes(16)),
};
