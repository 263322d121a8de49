import { notImplemented } from '#model/errors.ts';

/** Where the files of a result are wanted; undefined for an image in the daemon. */
export type FilesOutput = 'local' | 'tar' | undefined;

/** What an output of BuildKit's is here, by its type; an empty one keeps nothing but the image. */
export function filesOutput(type: string): FilesOutput {
  if (type === '' || type === 'image' || type === 'moby') return undefined;
  if (type === 'local' || type === 'tar') return type;
  throw notImplemented(`the output ${type} is not supported`, {
    hint: 'Build into the daemon and save the image from there: docker save',
  });
}

/** The one output that a build has here; undefined where none is asked for. */
export function soleOutput<T>(outputs: readonly T[]): T | undefined {
  const [first, second] = outputs;
  if (second !== undefined)
    throw notImplemented('a build has one output here', { hint: 'Build once for each.' });
  return first;
}
