import { parseReference } from '#engine/images/reference.ts';
import { kindOf } from '#model/errors.ts';

const ID = /^sha256:[0-9a-f]{64}$/;

/**
 * What a node that has an image says of it in its description, one of these at least. The image is a name, an ID, or a name with a digest,
 * which is one that a repository has it under, or its ID. Pure.
 */
export function imageKeys(image: string): readonly string[] {
  if (ID.test(image)) return [image];
  try {
    const { familiar, tag, digest } = parseReference(image);
    return digest === undefined ? [`${familiar}:${tag ?? 'latest'}`] : [`${familiar}@${digest}`, digest];
  } catch (error) {
    if (kindOf(error) === 'invalid') return [image];
    throw error;
  }
}
