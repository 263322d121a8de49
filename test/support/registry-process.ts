import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { DROVER } from './api-daemon.ts';

const START_LIMIT_MS = 20_000;

export interface RegistryAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** `drover registry` on a port of its own; what it stored is gone when it is disposed of. */
export class RegistryProcess implements AsyncDisposable {
  readonly directory: string;
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(o: { directory: string; port: number; child: ChildProcess }) {
    this.directory = o.directory;
    this.port = o.port;
    this.#child = o.child;
  }

  /** `configuration` is the registry's file; `directory` one that an earlier process left. */
  static async start(
    o: { configuration?: string; directory?: string; flags?: string[] } = {},
  ): Promise<RegistryProcess> {
    const directory = o.directory ?? mkdtempSync(join(tmpdir(), 'drover-registry-'));
    const flags = ['--addr', '127.0.0.1:0', '--data-root', join(directory, 'data'), ...(o.flags ?? [])];
    if (o.configuration !== undefined) {
      writeFileSync(join(directory, 'registry.yaml'), o.configuration);
      flags.push('--config', join(directory, 'registry.yaml'));
    }
    const child = spawn(DROVER, ['registry', ...flags], { stdio: ['ignore', 'inherit', 'pipe'] });
    let log = '';
    child.stderr?.on('data', (chunk) => {
      log += String(chunk);
    });
    const deadline = Date.now() + START_LIMIT_MS;
    for (;;) {
      const port = /registry listens on port (\d+)/.exec(log)?.[1];
      if (port !== undefined) return new RegistryProcess({ directory, port: Number(port), child });
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`the registry did not start:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  async call(
    method: string,
    path: string,
    o: { headers?: Record<string, string>; body?: Buffer | string } = {},
  ): Promise<RegistryAnswer> {
    const url = path.startsWith('http') ? path : `http://${this.host}${path}`;
    const call = request(url, { method, headers: o.headers ?? {}, agent: false });
    call.end(o.body);
    const [response] = await once(call, 'response');
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
  }

  /** Puts a blob into a repository, in one piece; gives its digest. */
  async pushBlob(
    repository: string,
    data: Buffer | string,
    headers: Record<string, string> = {},
  ): Promise<string> {
    const digest = digestOf(data);
    const answer = await this.call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, {
      body: data,
      headers,
    });
    if (answer.status !== 201) throw new Error(`push of a blob: ${answer.status} ${answer.body}`);
    return digest;
  }

  /** An image of one small layer. Gives the manifest's digest. */
  async pushImage(
    repository: string,
    tag: string,
    content: string = tag,
    headers: Record<string, string> = {},
  ): Promise<string> {
    const config = '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}';
    const layer = `layer ${content}`;
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: await this.pushBlob(repository, config, headers),
        size: config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          digest: await this.pushBlob(repository, layer, headers),
          size: layer.length,
        },
      ],
    });
    const answer = await this.pushManifest(repository, tag, manifest, headers);
    if (answer.status !== 201) throw new Error(`push of a manifest: ${answer.status} ${answer.body}`);
    return digestOf(manifest);
  }

  async pushManifest(
    repository: string,
    reference: string,
    manifest: string,
    headers: Record<string, string> = {},
  ): Promise<RegistryAnswer> {
    return await this.call('PUT', `/v2/${repository}/manifests/${reference}`, {
      headers: { 'Content-Type': MANIFEST, ...headers },
      body: manifest,
    });
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
