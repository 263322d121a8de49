import type { Readable } from 'node:stream';
import { LARGEST_MANIFEST } from './registry-content.ts';
import { RegistryProblem } from './registry-problem.ts';

/** A manifest, whole; `SIZE_INVALID` where it is larger than one may be. The source is left open for its rest to be dropped. */
export async function readManifest(source: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of source.iterator({ destroyOnReturn: false })) {
    const bytes: Buffer = chunk;
    total += bytes.length;
    if (total > LARGEST_MANIFEST)
      throw new RegistryProblem('SIZE_INVALID', `the manifest is larger than ${LARGEST_MANIFEST} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
