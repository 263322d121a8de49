import { createReadStream, rmSync, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { AwsClient } from 'aws4fetch';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { unavailable } from '#model/errors.ts';
import type { BlobStorage } from './blob-storage.ts';
import type { ByteRange } from './byte-range.ts';

export interface S3Settings {
  /** With scheme: `https://s3.example.org`. */
  endpoint: string;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Before every key. */
  prefix: string;
}

/** Larger blobs are sent in parts of this size; S3 takes 10,000 parts. */
const PART = 64 * 1024 * 1024;

/** Content in S3 or what speaks its protocol, as `<prefix>blobs/sha256/<hex>`. */
export class S3BlobStorage implements BlobStorage {
  readonly #client: AwsClient;
  readonly #settings: S3Settings;

  constructor(settings: S3Settings) {
    this.#settings = settings;
    this.#client = new AwsClient({
      accessKeyId: settings.accessKeyId,
      secretAccessKey: settings.secretAccessKey,
      region: settings.region,
      service: 's3',
    });
  }

  async size(digest: string): Promise<number | undefined> {
    const response = await this.#send('HEAD', this.#key(digest), { accept: [404] });
    return response.status === 404 ? undefined : Number(response.headers.get('content-length'));
  }

  async read(digest: string, range?: ByteRange): Promise<Readable> {
    const headers = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` };
    const response = await this.#send('GET', this.#key(digest), { headers });
    if (response.body === null) return Readable.from([]);
    return Readable.fromWeb(response.body);
  }

  file(): undefined {
    return undefined;
  }

  async adopt(file: string, digest: string): Promise<void> {
    const { size } = statSync(file);
    if ((await this.size(digest)) !== size) {
      if (size <= PART) await this.#putPart(this.#key(digest), file, 0, size);
      else await this.#putParts(this.#key(digest), file, size);
    }
    rmSync(file, { force: true });
  }

  async put(data: Buffer): Promise<string> {
    const digest = digestOf(data);
    await this.#send('PUT', this.#key(digest), { body: new Uint8Array(data) });
    return digest;
  }

  async sweep(kept: () => Iterable<string>): Promise<void> {
    const prefix = `${this.#settings.prefix}blobs/sha256/`;
    const listed: string[] = [];
    let token: string | undefined;
    do {
      const query = new URLSearchParams({ 'list-type': '2', prefix });
      if (token !== undefined) query.set('continuation-token', token);
      const text = await (await this.#send('GET', `?${query}`, {})).text();
      for (const [, item = ''] of text.matchAll(/<Contents>(.*?)<\/Contents>/gs))
        listed.push(tagOf(item, 'Key') ?? '');
      token = tagOf(text, 'NextContinuationToken');
    } while (token !== undefined);
    // Asked for last, so that what came meanwhile is in it.
    const names = new Set([...kept()].map((digest) => this.#key(digest)));
    for (const key of listed) if (!names.has(key)) await this.#send('DELETE', key, { accept: [404] });
  }

  async #putPart(key: string, file: string, start: number, length: number): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of createReadStream(file, { start, end: start + length - 1 })) chunks.push(chunk);
    const body = new Uint8Array(Buffer.concat(chunks));
    const response = await this.#send('PUT', key, { body });
    return response.headers.get('etag') ?? '';
  }

  async #putParts(key: string, file: string, size: number): Promise<void> {
    const begun = await (await this.#send('POST', `${key}?uploads=`, {})).text();
    const id = encodeURIComponent(tagOf(begun, 'UploadId') ?? '');
    try {
      const parts: string[] = [];
      for (let start = 0, number = 1; start < size; start += PART, number++) {
        const query = `?partNumber=${number}&uploadId=${id}`;
        const tag = await this.#putPart(key + query, file, start, Math.min(PART, size - start));
        parts.push(`<Part><PartNumber>${number}</PartNumber><ETag>${tag}</ETag></Part>`);
      }
      const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
      const done = await (await this.#send('POST', `${key}?uploadId=${id}`, { body })).text();
      // A failure after the answer's head was sent stands in its body.
      if (done.includes('<Error>'))
        throw unavailable(`S3 did not put ${key} together: ${done.slice(0, 300)}`);
    } catch (error) {
      await this.#send('DELETE', `${key}?uploadId=${id}`, { accept: [404] });
      throw error;
    }
  }

  #key(digest: string): string {
    return `${this.#settings.prefix}blobs/${digest.replace(':', '/')}`;
  }

  async #send(
    method: string,
    path: string,
    o: { headers?: Record<string, string>; body?: string | Uint8Array<ArrayBuffer>; accept?: number[] },
  ): Promise<Response> {
    const { endpoint, bucket } = this.#settings;
    const url = `${endpoint.replace(/\/$/, '')}/${bucket}/${path}`;
    let response: Response;
    try {
      response = await this.#client.fetch(url, {
        method,
        ...(o.headers === undefined ? {} : { headers: o.headers }),
        ...(o.body === undefined ? {} : { body: o.body }),
      });
    } catch (cause) {
      throw unavailable(`cannot reach the registry's S3 storage at ${endpoint}`, { cause });
    }
    if (response.ok || o.accept?.includes(response.status) === true) return response;
    const text = await response.text();
    throw unavailable(
      `S3 ${method} ${path.split('?')[0] ?? ''}: ${response.status} ${tagOf(text, 'Code') ?? ''}`,
    );
  }
}

function tagOf(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`)
    .exec(xml)?.[1]
    ?.replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&');
}
