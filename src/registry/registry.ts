import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BlobStore } from '#engine/blobs/blob-store.ts';
import { invalid, messageOf } from '#model/errors.ts';
import { addressClass } from './address-class.ts';
import type { BlobDownloads } from './blob-download.ts';
import { type BlobStorage, SharedBlobStorage } from './blob-storage.ts';
import { type OwnRegistry, Registries } from './registries.ts';
import { RegistryAccess } from './registry-access.ts';
import { RegistryCatalogue } from './registry-catalogue.ts';
import { readRegistryConfiguration } from './registry-configuration.ts';
import { RegistryContent } from './registry-content.ts';
import type { RegistrySettings } from './registry-endpoints.ts';
import { RegistryMetrics } from './registry-metrics.ts';
import { RegistryProxy } from './registry-proxy.ts';
import { createRegistryServer } from './registry-server.ts';
import { S3BlobStorage } from './s3-blob-storage.ts';
import { WebhookSender } from './webhook-sender.ts';

/** What nobody needs any more is looked for this often. */
const GARBAGE_INTERVAL_MS = 3600 * 1000;
/** How long transfers in work may take to finish when the registry stops. */
const GRACE_MS = 500;

/** A registry that listens: in the daemon on the engine's own blobs, or alone. */
export class RegistryService implements AsyncDisposable, OwnRegistry {
  readonly secret: string = randomBytes(24).toString('base64url');
  readonly content: RegistryContent;
  readonly #server: Server;
  readonly #parts = new AsyncDisposableStack();
  readonly #sharesBlobs: boolean;
  #port = 0;

  private constructor(o: {
    dataRoot: string;
    blobs: BlobStore;
    downloads: BlobDownloads;
    configFile: string | undefined;
    settings: RegistrySettings;
    log: Logger;
  }) {
    const configuration = readRegistryConfiguration(o.configFile);
    const directory = join(o.dataRoot, 'registry');
    const catalogue = this.#parts.use(new RegistryCatalogue(join(directory, 'registry.db')));
    const s3 = configuration.storage?.s3;
    const storage: BlobStorage = s3 === undefined ? new SharedBlobStorage(o.blobs) : new S3BlobStorage(s3);
    this.#sharesBlobs = s3 === undefined;
    if (s3 === undefined) o.blobs.addReferrer(() => catalogue.digests());
    this.content = new RegistryContent({ directory, catalogue, storage, configuration });
    const hooks = this.#parts.use(new WebhookSender({ hooks: configuration.webhooks, log: o.log }));
    const proxy =
      configuration.proxy === undefined
        ? undefined
        : this.#parts.use(
            new RegistryProxy({
              content: this.content,
              registries: new Registries({ settings: o.settings }),
              downloads: o.downloads,
              settings: configuration.proxy,
              log: o.log,
            }),
          );
    const tls =
      configuration.tls === undefined
        ? undefined
        : { cert: readFileSync(configuration.tls.certificate), key: readFileSync(configuration.tls.key) };
    this.#server = createRegistryServer(
      {
        content: this.content,
        access: new RegistryAccess(configuration),
        hooks,
        metrics: new RegistryMetrics(this.content),
        proxy,
        ownSecret: this.secret,
        log: o.log,
      },
      tls,
    );
    const timer = setInterval(() => {
      this.content
        .collectGarbage()
        .catch((error: unknown) => o.log.warn({ error: messageOf(error) }, 'registry: clean-up failed'));
    }, GARBAGE_INTERVAL_MS).unref();
    this.#parts.defer(() => clearInterval(timer));
  }

  /** Listens at `address`, `[host]:port`; `invalid` where it is none. */
  static async open(o: {
    address: string;
    configFile: string | undefined;
    dataRoot: string;
    blobs: BlobStore;
    downloads: BlobDownloads;
    settings: RegistrySettings;
    log: Logger;
  }): Promise<RegistryService> {
    const { host, port } = parseListenAddress(o.address);
    const service = new RegistryService(o);
    try {
      service.#server.listen(port, host);
      await once(service.#server, 'listening');
    } catch (error) {
      await service.#parts.disposeAsync();
      throw error;
    }
    const bound = service.#server.address();
    service.#port = typeof bound === 'object' && bound !== null ? bound.port : port;
    return service;
  }

  get port(): number {
    return this.#port;
  }

  /** Only where blobs are shared: then nothing has to be sent. */
  isAt(host: string): boolean {
    if (!this.#sharesBlobs) return false;
    const match = /^(.*):(\d+)$/.exec(host);
    if (match === null || Number(match[2]) !== this.#port) return false;
    const name = (match[1] ?? '').replace(/^\[(.*)\]$/, '$1');
    if (name === 'localhost') return true;
    if (isIP(name) === 0) return false;
    const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    return addressClass(name) === 'loopback' || own.some(({ address }) => address === name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), GRACE_MS);
    await closed.promise;
    clearTimeout(timer);
    await this.#parts.disposeAsync();
  }
}

/** `:5000`, `127.0.0.1:5000`, `[::1]:5000`; without a host every address. */
export function parseListenAddress(text: string): { host: string | undefined; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || port > 65_535)
    throw invalid(`${text} is no address to listen at, such as 127.0.0.1:5000`);
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? undefined : host, port };
}
