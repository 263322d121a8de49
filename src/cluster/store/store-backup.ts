import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid, notFound } from '#model/errors.ts';
import { linesOf } from './json-lines.ts';
import { isJson, type Json, numberIn, textIn } from './json-object.ts';
import { writePrivately } from './private-file.ts';
import type { Store } from './store.ts';
import { type CopiedEntry, checkComplete, copied, copyInto } from './store-copy.ts';

const FORMAT = 'drover-cluster-backup';
const VERSION = 1;
/** More than the largest value takes with every character escaped. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** The record of the cluster itself. */
const CLUSTER = 'swarm/';

export interface BackupHeader {
  /** Empty where the store has no cluster yet. */
  readonly clusterId: string;
  /** Of the store that was saved. */
  readonly revision: number;
  readonly count: number;
}

/**
 * Saves a store as it is at one revision: JSON lines, first a header, then an entry each, last the SHA-256 of all lines before. The file
 * appears whole, with 0600: it has the cluster's secrets and keys.
 */
export async function writeBackup(store: Store, file: string): Promise<BackupHeader> {
  const listing = await store.list('');
  checkComplete(listing.entries);
  const entries = copied(listing.entries);
  const cluster = entries.find(({ key }) => key.startsWith(CLUSTER));
  const header = {
    ...{ clusterId: cluster?.key.slice(CLUSTER.length) ?? '', revision: listing.revision },
    count: entries.length,
  };
  await writePrivately(file, async (write) => {
    const hash = createHash('sha256');
    const line = async (value: unknown): Promise<void> => {
      const text = Buffer.from(`${JSON.stringify(value)}\n`);
      hash.update(text);
      await write(text);
    };
    await line({ format: FORMAT, version: VERSION, ...header });
    for (const { key, value } of entries) await line({ key, value });
    await line({ sha256: hash.copy().digest('hex') });
  });
  return header;
}

/** Reads the whole file; `invalid` says what is wrong with it, `not-found` that it is not there. */
export async function checkBackup(file: string): Promise<BackupHeader> {
  const reader = new BackupReader(file);
  for await (const _entry of reader.entries());
  return reader.header;
}

/**
 * Fills an empty store from a backup. The file is read whole before anything is written. Cut off, it is finished by repeating it with the
 * same file; `conflict` for a store that has anything else in it.
 */
export async function restoreBackup(file: string, store: Store): Promise<BackupHeader> {
  const header = await checkBackup(file);
  const source = `the backup of cluster ${header.clusterId || '(none)'} at revision ${header.revision}`;
  await copyInto(store, { source, entries: new BackupReader(file).entries() });
  return header;
}

/** Goes through a backup once. */
class BackupReader {
  readonly #file: string;
  readonly #hash = createHash('sha256');
  #header: BackupHeader | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Known when the first entry is. */
  get header(): BackupHeader {
    if (this.#header === undefined) throw this.#foreign();
    return this.#header;
  }

  /** Throws where the file is not what was written, at the latest at its end. */
  async *entries(): AsyncGenerator<CopiedEntry> {
    let count = 0;
    let isWhole = false;
    for await (const line of this.#lines()) {
      if (isWhole) throw this.#damaged('there is more after its end');
      const json = parsed(line);
      if (this.#header === undefined) this.#header = this.#headerOf(json);
      else if (json === undefined) throw this.#damaged(`entry ${count + 1} cannot be read`);
      else if ('sha256' in json) {
        this.#checkEnd(json, count);
        isWhole = true;
        continue;
      } else {
        count += 1;
        yield this.#entryOf(json, count);
      }
      feed(this.#hash, line);
    }
    if (!isWhole) throw invalid(`${this.#file} is cut off: it has ${count} of ${this.header.count} entries`);
  }

  async *#lines(): AsyncGenerator<Buffer> {
    const tooLong = (): Error =>
      this.#header === undefined ? this.#foreign() : this.#damaged('a line is too long');
    try {
      yield* linesOf(createReadStream(this.#file), { maxBytes: MAX_LINE_BYTES, tooLong });
    } catch (cause) {
      if (hasCode(cause, 'ENOENT')) throw notFound(`there is no file ${this.#file}`, { cause });
      throw cause;
    }
  }

  #headerOf(json: Json | undefined): BackupHeader {
    if (json === undefined || json['format'] !== FORMAT) throw this.#foreign();
    const version = numberIn(json, 'version');
    if (version !== VERSION)
      throw invalid(`${this.#file} is a backup of version ${version}; this Drover reads version ${VERSION}`);
    return {
      clusterId: textIn(json, 'clusterId'),
      ...{ revision: numberIn(json, 'revision'), count: numberIn(json, 'count') },
    };
  }

  #entryOf(json: Json, number: number): CopiedEntry {
    const { key, value } = json;
    if (typeof key === 'string' && typeof value === 'string') return { key, value };
    throw this.#damaged(`entry ${number} is none`);
  }

  #checkEnd(json: Json, count: number): void {
    if (textIn(json, 'sha256') !== this.#hash.copy().digest('hex'))
      throw this.#damaged('its checksum does not fit');
    if (count !== this.header.count) throw this.#damaged(`it has ${count} of ${this.header.count} entries`);
  }

  #foreign(): Error {
    return invalid(`${this.#file} is no backup of a Drover cluster`);
  }

  #damaged(how: string): Error {
    return invalid(`${this.#file} is damaged: ${how}`);
  }
}

function feed(hash: Hash, line: Buffer): void {
  hash.update(line);
  hash.update('\n');
}

function parsed(line: Buffer): Json | undefined {
  try {
    const value: unknown = JSON.parse(line.toString());
    return isJson(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
