import type { IncomingHttpHeaders } from 'node:http';
import { digestOf } from '#engine/blobs/blob-store.ts';
import {
  type Descriptor,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from '#engine/images/image-documents.ts';
import { internal, invalid } from '#model/errors.ts';
import { checkDigest } from './blob-download.ts';
import type { RegistryClient } from './registry-client.ts';

/** Every kind of manifest that is understood here, for an Accept header. */
export const MANIFEST_TYPES: string = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(', ');

/** A manifest as a registry gave it. */
export interface FetchedManifest {
  data: Buffer;
  digest: string;
  mediaType: string;
}

/** A manifest by tag or digest; its digest is that of its bytes, and what was asked for where that was a digest. */
export async function fetchManifest(
  client: RegistryClient,
  path: string,
  tag: string,
  expected?: Descriptor,
): Promise<FetchedManifest> {
  const what = nameOf(path, tag);
  const { response, body } = await client.document({
    method: 'GET',
    path: `/v2/${path}/manifests/${tag}`,
    headers: { Accept: MANIFEST_TYPES },
    what,
  });
  const said = response.headers['docker-content-digest'];
  const digest = tag.includes(':') ? tag : digestOf(body);
  checkDigest(body, digest, what);
  if (typeof said === 'string' && said !== digest && said.startsWith('sha256:'))
    throw invalid(`${what}: the registry says it is ${said}, but it is ${digest}`);
  if (expected !== undefined && body.length !== expected.size)
    throw invalid(`${what} has ${body.length} bytes, its index says ${expected.size}`);
  const mediaType = (response.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
  return { data: body, digest, mediaType };
}

/** Puts a manifest under a tag or its digest, and checks that the registry keeps it as it is. Gives the answer's headers. */
export async function putManifest(
  client: RegistryClient,
  path: string,
  tag: string,
  { data, mediaType }: { data: Buffer; mediaType: string },
): Promise<IncomingHttpHeaders> {
  const { response } = await client.document({
    method: 'PUT',
    path: `/v2/${path}/manifests/${tag}`,
    headers: { 'Content-Type': mediaType },
    body: () => data,
    what: nameOf(path, tag),
  });
  const said = response.headers['docker-content-digest'];
  const digest = digestOf(data);
  if (typeof said === 'string' && said !== digest)
    throw internal(`the registry keeps ${path}:${tag} as ${said}, not as ${digest}`);
  return response.headers;
}

function nameOf(path: string, tag: string): string {
  return `manifest for ${path}${tag.includes(':') ? '@' : ':'}${tag}`;
}
