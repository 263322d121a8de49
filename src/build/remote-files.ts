import { createHash } from 'node:crypto';
import { createWriteStream, rmSync } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { cancelled, DroverError, invalid, messageOf, unavailable } from '#model/errors.ts';

export interface RemoteFile {
  /** `sha256:…` of its bytes. */
  digest: string;
  /** From the Last-Modified header; milliseconds since the epoch. */
  modifiedMs: number | undefined;
  /** As the server or the address names it. */
  name: string;
}

const LARGEST = 16 * 1024 ** 3;

/** Fetches an http(s) address into a file. `invalid` where the checksum is another. */
export async function downloadTo(
  url: string,
  file: string,
  o: { signal: AbortSignal; checksum?: string },
): Promise<RemoteFile> {
  if (!/^https?:\/\//.test(url)) throw invalid(`${url} is no address that can be fetched`);
  let response: Response;
  try {
    response = await fetch(url, { signal: o.signal, redirect: 'follow' });
  } catch (cause) {
    if (o.signal.aborted) throw cancelled('the build was cancelled', { cause });
    throw unavailable(
      `cannot fetch ${url}: ${messageOf(cause instanceof Error ? (cause.cause ?? cause) : cause)}`,
      { cause },
    );
  }
  if (!response.ok || response.body === null)
    throw invalid(`cannot fetch ${url}: the server answers ${response.status}`);
  const hash = createHash('sha256');
  let size = 0;
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      hash.update(chunk);
      done(size > LARGEST ? invalid(`${url} is larger than ${LARGEST} bytes`) : null, chunk);
    },
  });
  try {
    await pipeline(Readable.fromWeb(response.body), counting, createWriteStream(file, { mode: 0o600 }), {
      signal: o.signal,
    });
  } catch (cause) {
    rmSync(file, { force: true });
    if (o.signal.aborted) throw cancelled('the build was cancelled', { cause });
    if (cause instanceof DroverError) throw cause;
    throw unavailable(`${url} broke off: ${messageOf(cause)}`, { cause });
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (o.checksum !== undefined && o.checksum !== digest) {
    rmSync(file, { force: true });
    throw invalid(`digest mismatch: ${url} is ${digest}, not ${o.checksum}`);
  }
  const modified = Date.parse(response.headers.get('last-modified') ?? '');
  return {
    digest,
    modifiedMs: Number.isNaN(modified) ? undefined : modified,
    name: saidName(response.headers.get('content-disposition')) ?? nameInAddress(url),
  };
}

function saidName(disposition: string | null): string | undefined {
  return /filename="?([^";/]+)"?/.exec(disposition ?? '')?.[1];
}

/** The last part of an address's path; empty where it ends with a slash. `invalid` where it cannot be decoded. */
export function nameInAddress(url: string): string {
  try {
    return decodeURIComponent(new URL(url).pathname.split('/').pop() ?? '');
  } catch (cause) {
    throw invalid(`${url} is no address that can be fetched`, { cause });
  }
}
