import { formatPlatform } from '#engine/images/image-documents.ts';
import type { Image } from '#model/image.ts';
import type { BuildRequest } from './build-request.ts';

export const SLSA_PROVENANCE = 'https://slsa.dev/provenance/v1';
/** Names what the parameters below mean; there is nothing to fetch under it. */
const BUILD_TYPE = 'urn:drover:dockerfile:v1';

/** SLSA provenance, version 1: what the build was asked for and what it was made of. Values of secrets are never in it. */
export function slsaProvenance(o: {
  image: Image;
  request: BuildRequest;
  dockerfile: string;
  bases: readonly { reference: string; digest: string }[];
  startedOn: string;
  finishedOn: string;
  builderVersion: string;
}): object {
  const { request, image } = o;
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: {
        dockerfile: { path: request.dockerfile.path, text: o.dockerfile },
        ...(request.target === undefined ? {} : { target: request.target }),
        buildArgs: request.buildArgs,
        labels: request.labels,
        platform: formatPlatform({
          os: image.configuration.os,
          architecture: image.configuration.architecture,
          variant: image.configuration.variant,
        }),
        network: request.network,
        secrets: [...request.secrets.keys()],
      },
      internalParameters: { noCache: request.noCache, entitlements: request.entitlements },
      resolvedDependencies: o.bases.map(({ reference, digest }) => ({
        uri: `pkg:docker/${reference}?platform=${encodeURIComponent(`${image.configuration.os}/${image.configuration.architecture}`)}`,
        digest: { sha256: digest.replace(/^sha256:/, '') },
      })),
    },
    runDetails: {
      builder: { id: 'urn:drover:builder', version: { drover: o.builderVersion } },
      metadata: { invocationId: image.id, startedOn: o.startedOn, finishedOn: o.finishedOn },
    },
  };
}
