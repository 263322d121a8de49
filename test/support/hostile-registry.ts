import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { digestOf } from '#engine/blobs/blob-store.ts';

export type RegistryAnswerer = (path: string, response: ServerResponse, request: IncomingMessage) => void;

/** A registry that is not what it should be: answers as the test says. */
export class HostileRegistry implements AsyncDisposable {
  readonly #server: ReturnType<typeof createServer>;
  port = 0;

  private constructor(answer: RegistryAnswerer) {
    this.#server = createServer((request, response) => {
      if (request.url === '/v2/') response.end('{}');
      else answer(request.url ?? '', response, request);
    });
  }

  static async open(answer: RegistryAnswerer): Promise<HostileRegistry> {
    const registry = new HostileRegistry(answer);
    registry.#server.listen(0, '127.0.0.1');
    await new Promise((resolve) => registry.#server.once('listening', resolve));
    const address = registry.#server.address();
    registry.port = typeof address === 'object' && address !== null ? address.port : 0;
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export interface ImageParts {
  config: Buffer;
  layer: Buffer;
  manifest: Buffer;
}

/** An image whose one layer is `tar`, told wrongly where `change` says so. */
export function imageOf(
  tar: Buffer,
  change: { layer?: Buffer; size?: number; digest?: string; configSize?: number } = {},
): ImageParts {
  const layer = change.layer ?? gzipSync(tar, { level: 0 });
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: digestOf(config),
        size: change.configSize ?? config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          digest: change.digest ?? digestOf(layer),
          size: change.size ?? layer.length,
        },
      ],
    }),
  );
  return { config, layer, manifest };
}

/** Serves the parts as an honest registry would, except for the layers that `blob` answers itself. */
export function serving(
  parts: ImageParts,
  blob: (response: ServerResponse, request: IncomingMessage) => boolean = () => false,
): RegistryAnswerer {
  return (path, response, request) => {
    if (path.includes('/manifests/')) {
      response.setHeader('Content-Type', 'application/vnd.oci.image.manifest.v1+json');
      response.end(parts.manifest);
    } else if (path.endsWith(digestOf(parts.config))) response.end(parts.config);
    else if (!blob(response, request)) response.end(parts.layer);
  };
}
