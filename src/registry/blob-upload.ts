import type { IncomingMessage } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { invalid, kindOf } from '#model/errors.ts';
import type { RegistryClient } from './registry-client.ts';

const ATTEMPTS = 5;

/** How a blob got into a repository. */
export type UploadOutcome = 'there' | 'mounted' | 'sent';

/**
 * Brings a blob into a repository (distribution-spec, "Pushing blobs"): nothing is sent where it is there or can be mounted; an
 * upload that breaks off is gone on with where the registry says it stopped.
 */
export async function uploadBlob(
  client: RegistryClient,
  o: {
    path: string;
    digest: string;
    size: number;
    /** The blob's bytes from `start` on. */
    read: (start: number) => Readable;
    /** Another repository of the registry that has it. */
    mountFrom: string | undefined;
    progress: (bytes: number) => void;
  },
): Promise<UploadOutcome> {
  const what = `blob ${o.digest} of ${o.path}`;
  const there = await client.send({
    method: 'HEAD',
    path: `/v2/${o.path}/blobs/${o.digest}`,
    what,
    accept: [404],
  });
  there.resume();
  if (there.statusCode === 200) return 'there';
  const query = new URLSearchParams({ mount: o.digest });
  if (o.mountFrom !== undefined) query.set('from', o.mountFrom);
  const begun = await client.send({
    method: 'POST',
    path: `/v2/${o.path}/blobs/uploads/?${query}`,
    headers: { 'Content-Length': '0' },
    what,
  });
  begun.resume();
  if (begun.statusCode === 201) return 'mounted';
  let location = locationOf(begun, client.endpoint.url, what);
  let done = 0;
  for (let failures = 0; ; ) {
    const before = done;
    try {
      if (done < o.size) location = await sendRest(client, { ...o, what, location, start: done });
      done = o.size;
      await finish(client, location, o.digest, what);
      return 'sent';
    } catch (error) {
      failures = done > before ? 1 : failures + 1;
      if (kindOf(error) !== 'unavailable' || failures >= ATTEMPTS) throw error;
      await client.pause(failures);
      const state = await uploadState(client, location, what);
      location = state.location;
      done = state.done;
    }
  }
}

async function sendRest(
  client: RegistryClient,
  o: {
    size: number;
    read: (start: number) => Readable;
    progress: (bytes: number) => void;
    what: string;
    location: string;
    start: number;
  },
): Promise<string> {
  const length = o.size - o.start;
  const response = await client.send({
    method: 'PATCH',
    path: o.location,
    once: true,
    what: o.what,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(length),
      // Docker's registry refuses a range where nothing came before.
      ...(o.start === 0 ? {} : { 'Content-Range': `${o.start}-${o.size - 1}` }),
    },
    body: () => counted(o.read(o.start), o.start, o.progress),
  });
  response.resume();
  return locationOf(response, client.endpoint.url, o.what);
}

function counted(source: Readable, start: number, progress: (bytes: number) => void): Readable {
  let done = start;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      done += chunk.length;
      progress(done);
      next(null, chunk);
    },
  });
  source.once('error', (error) => counter.destroy(error));
  counter.once('close', () => source.destroy());
  return source.pipe(counter);
}

async function finish(client: RegistryClient, location: string, digest: string, what: string): Promise<void> {
  const url = new URL(location);
  url.searchParams.set('digest', digest);
  const response = await client.send({
    method: 'PUT',
    path: url.href,
    headers: { 'Content-Length': '0' },
    what,
  });
  response.resume();
}

/** How far the registry has got with an upload. */
async function uploadState(
  client: RegistryClient,
  location: string,
  what: string,
): Promise<{ location: string; done: number }> {
  const response = await client.send({ method: 'GET', path: location, what });
  response.resume();
  const end = /^(?:bytes=)?0-(\d+)$/.exec(response.headers.range ?? '')?.[1];
  return {
    location: locationOf(response, client.endpoint.url, what, location),
    done: end === undefined || end === '0' ? 0 : Number(end) + 1,
  };
}

function locationOf(response: IncomingMessage, base: string, what: string, same?: string): string {
  const location = response.headers.location ?? same;
  if (location === undefined || !URL.canParse(location, base))
    throw invalid(`${what}: the registry does not say where to send it`);
  return new URL(location, base).href;
}
