import { Readable } from 'node:stream';
import { digestOf } from '#engine/blobs/blob-store.ts';
import {
  type Descriptor,
  ImageIndex,
  OCI_INDEX,
  OCI_MANIFEST,
  parseDocument,
} from '#engine/images/image-documents.ts';
import { invalid } from '#model/errors.ts';
import { uploadBlob } from './blob-upload.ts';
import { MANIFEST_TYPES, putManifest } from './manifest-transfer.ts';
import type { RegistryClient } from './registry-client.ts';

const IN_TOTO = 'application/vnd.in-toto+json';
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const EMPTY = Buffer.from('{}');

/** An in-toto statement (version 1) about an image: a predicate and what it is said of. */
export function inTotoStatement(o: {
  name: string;
  digest: string;
  predicateType: string;
  predicate: unknown;
}): Buffer {
  return Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: o.name, digest: { sha256: o.digest.replace(/^sha256:/, '') } }],
      predicateType: o.predicateType,
      predicate: o.predicate,
    }),
  );
}

/** Puts a statement beside the manifest it is about, as its referrer (distribution-spec, "Pushing Manifests with Subject"). */
export async function pushAttestation(
  client: RegistryClient,
  path: string,
  o: { statement: Buffer; predicateType: string; subject: Descriptor },
): Promise<void> {
  const upload = async (data: Buffer): Promise<void> => {
    await uploadBlob(client, {
      path,
      digest: digestOf(data),
      size: data.length,
      read: (start) => Readable.from([data.subarray(start)], { objectMode: false }),
      mountFrom: undefined,
      progress: () => undefined,
    });
  };
  await upload(EMPTY);
  await upload(o.statement);
  const annotations = { 'in-toto.io/predicate-type': o.predicateType };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: IN_TOTO,
      config: { mediaType: EMPTY_TYPE, digest: digestOf(EMPTY), size: EMPTY.length },
      layers: [{ mediaType: IN_TOTO, digest: digestOf(o.statement), size: o.statement.length, annotations }],
      subject: o.subject,
      annotations,
    }),
  );
  const digest = digestOf(manifest);
  const answer = await putManifest(client, path, digest, { data: manifest, mediaType: OCI_MANIFEST });
  if (answer['oci-subject'] !== undefined) return;
  await addToReferrersTag(client, path, o.subject.digest, {
    mediaType: OCI_MANIFEST,
    digest,
    size: manifest.length,
    artifactType: IN_TOTO,
    annotations,
  });
}

/** For registries without the referrers API: an index under a tag made of the subject's digest. */
async function addToReferrersTag(
  client: RegistryClient,
  path: string,
  subject: string,
  descriptor: Descriptor,
): Promise<void> {
  const tag = subject.replace(':', '-');
  const what = `referrers of ${subject}`;
  const { response, body } = await client.document({
    method: 'GET',
    path: `/v2/${path}/manifests/${tag}`,
    headers: { Accept: MANIFEST_TYPES },
    what,
    accept: [404],
  });
  const known = response.statusCode === 404 ? [] : parseDocument(ImageIndex, body, what).manifests;
  if (known.length > 10_000) throw invalid(`${what}: there are too many`);
  if (known.some(({ digest }) => digest === descriptor.digest)) return;
  const index = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...known, descriptor] }),
  );
  await putManifest(client, path, tag, { data: index, mediaType: OCI_INDEX });
}
