import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { forbidden, invalid } from '#model/errors.ts';

/** 256 bits for AES-GCM, and what it is found by. The ID is a digest: it says nothing of the key. */
export interface SealingKey {
  readonly id: string;
  readonly bytes: Buffer;
}

const KEY_BYTES = 32;
const ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const VERSION = 1;
const HEAD_BYTES = 1 + ID_BYTES + NONCE_BYTES + TAG_BYTES;
const UNLOCK_KEY = /^SWMKEY-1-([A-Za-z0-9+/]{43})$/;

/** A new key, by the machine's own randomness. */
export function createSealingKey(): SealingKey {
  return sealingKeyOf(randomBytes(KEY_BYTES));
}

/** The key with these 32 bytes. Throws `invalid` for another number of them. */
function sealingKeyOf(bytes: Buffer): SealingKey {
  if (bytes.length !== KEY_BYTES) throw invalid(`a sealing key has ${KEY_BYTES} bytes, not ${bytes.length}`);
  const id = createHash('sha256').update('drover sealing key\0').update(bytes).digest();
  return { id: id.subarray(0, ID_BYTES).toString('hex'), bytes };
}

/** The key as people keep it: `SWMKEY-1-<base64>`. */
export function formatUnlockKey(key: SealingKey): string {
  return `SWMKEY-1-${key.bytes.toString('base64').replace('=', '')}`;
}

/** Throws `invalid` for what is no unlock key; the message does not repeat it. */
export function parseUnlockKey(text: string): SealingKey {
  const [, base64] = UNLOCK_KEY.exec(text) ?? [];
  if (base64 === undefined) throw invalid('invalid unlock key: it has the form SWMKEY-1-<43 characters>');
  return sealingKeyOf(Buffer.from(base64, 'base64'));
}

/**
 * Encrypts with AES-256-GCM, to base64: version, key ID, nonce, tag, content. `purpose` (such as `secret/ID`) is not in it but has to be
 * the same at {@link unseal}, so that what is sealed for one record cannot be put into another.
 */
export function seal(content: Uint8Array, key: SealingKey, purpose: string): string {
  const head = Buffer.concat([Buffer.from([VERSION]), Buffer.from(key.id, 'hex')]);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key.bytes, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo(head, purpose));
  const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
  return Buffer.concat([head, nonce, cipher.getAuthTag(), sealed]).toString('base64');
}

/**
 * What was sealed for `purpose`, by whichever of the keys it was. Throws `forbidden` when it was sealed with none of them, `invalid` when
 * it is damaged or was sealed for something else.
 */
export function unseal(sealed: string, keys: readonly SealingKey[], purpose: string): Buffer {
  const id = sealedWith(sealed);
  const key = keys.find((candidate) => candidate.id === id);
  if (key === undefined)
    throw forbidden(`${purpose} is sealed with the key ${id}, which is not here`, {
      hint: 'unlock the swarm with the key of `docker swarm unlock-key`, or the one before its last rotation',
    });
  const bytes = Buffer.from(sealed, 'base64');
  const head = bytes.subarray(0, 1 + ID_BYTES);
  const nonce = bytes.subarray(head.length, head.length + NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key.bytes, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo(head, purpose));
  decipher.setAuthTag(bytes.subarray(head.length + NONCE_BYTES, HEAD_BYTES));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(HEAD_BYTES)), decipher.final()]);
  } catch (cause) {
    throw invalid(`${purpose} is damaged, or was sealed for something else`, { cause });
  }
}

/** The ID of the key that something is sealed with. Throws `invalid` for what is not sealed. */
export function sealedWith(sealed: string): string {
  const bytes = Buffer.from(sealed, 'base64');
  if (bytes.length < HEAD_BYTES || bytes[0] !== VERSION) throw invalid('this is not sealed by Drover');
  return bytes.subarray(1, 1 + ID_BYTES).toString('hex');
}

const KEY_PURPOSE = 'key';

/** A key under another one: the managers' key under the unlock key on a disk, the unlock key under the managers' in the store. */
export function sealKey(key: SealingKey, under: SealingKey): string {
  return seal(key.bytes, under, KEY_PURPOSE);
}

/** Throws as {@link unseal} does; `forbidden` is what a wrong unlock key gets. */
export function unsealKey(sealed: string, keys: readonly SealingKey[]): SealingKey {
  return sealingKeyOf(unseal(sealed, keys, KEY_PURPOSE));
}

function boundTo(head: Buffer, purpose: string): Buffer {
  return Buffer.concat([head, Buffer.from(purpose)]);
}
