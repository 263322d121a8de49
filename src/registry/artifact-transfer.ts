import type { Lease } from '#engine/blobs/blob-store.ts';
import { type Descriptor, OCI_MANIFEST } from '#engine/images/image-documents.ts';
import { parseReference } from '#engine/images/reference.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { invalid } from '#model/errors.ts';
import { checkDigest } from './blob-download.ts';
import { uploadBlob } from './blob-upload.ts';
import type { RegistryCredentials } from './credentials.ts';
import type { ImagePuller } from './image-puller.ts';
import { fetchManifest, putManifest } from './manifest-transfer.ts';
import type { Registries } from './registries.ts';
import type { RegistryClient } from './registry-client.ts';

const LARGEST_BLOB = 64 * 1024 * 1024;

interface Access {
  reference: string;
  request: { credentials: (host: string) => Promise<RegistryCredentials> };
  signal: AbortSignal;
}

/** Manifests and blobs of other things than images, to and from registries. */
export class RegistryArtifacts {
  readonly #registries: Registries;
  readonly #puller: ImagePuller;
  readonly #layers: LayerStore;

  constructor(o: { registries: Registries; puller: ImagePuller; layers: LayerStore }) {
    this.#registries = o.registries;
    this.#puller = o.puller;
    this.#layers = o.layers;
  }

  async manifest(access: Access): Promise<Buffer> {
    const { tag = 'latest', digest } = parseReference(access.reference);
    return await this.#use(access, 'pull', async (client, path) => {
      const { data } = await fetchManifest(client, path, digest ?? tag);
      return data;
    });
  }

  async blob(o: Access & { descriptor: Descriptor }): Promise<Buffer> {
    const { digest, size } = o.descriptor;
    if (size > LARGEST_BLOB) throw invalid(`blob ${digest} is too large: ${size} bytes`);
    return await this.#use(o, 'pull', async (client, path) => {
      const what = `blob ${digest}`;
      const { body } = await client.document({ method: 'GET', path: `/v2/${path}/blobs/${digest}`, what });
      checkDigest(body, digest, what);
      return body;
    });
  }

  async layer(o: Access & { descriptor: Descriptor; diffId: string; lease: Lease }): Promise<void> {
    await this.#use(o, 'pull', (client, path) => this.#puller.fetchLayer(client, { ...o, path }));
  }

  async push(o: Access & { manifest: Buffer; blobs: readonly Descriptor[] }): Promise<void> {
    const { tag = 'latest' } = parseReference(o.reference);
    const { blobs } = this.#layers;
    await this.#use(o, 'pull,push', async (client, path) => {
      for (const { digest, size } of o.blobs)
        await uploadBlob(client, {
          path,
          digest,
          size,
          read: (start) => blobs.read(digest, { start }),
          mountFrom: undefined,
          progress: () => undefined,
        });
      await putManifest(client, path, tag, { data: o.manifest, mediaType: OCI_MANIFEST });
    });
  }

  async #use<T>(
    { reference, request, signal }: Access,
    actions: 'pull' | 'pull,push',
    work: (client: RegistryClient, path: string) => Promise<T>,
  ): Promise<T> {
    const { name } = parseReference(reference);
    const credentials = await request.credentials(name.split('/', 1)[0] ?? '');
    return await this.#registries.use({ name, actions, credentials, signal }, work);
  }
}
