import { invalid } from '#model/errors.ts';

/** Below this, whatever an archive expands to is taken. */
const FREE_BYTES = 1024 ** 3;
/** Real layers stay below 30; what gzip can do with zeros is 1030. */
const HIGHEST_RATIO = 250;

/** Refuses an archive that expands to far more than it came as: `invalid`. To be asked while it is unpacked. */
export function checkExpansion(unpackedBytes: number, sourceBytes: number): void {
  if (unpackedBytes <= FREE_BYTES || unpackedBytes <= sourceBytes * HIGHEST_RATIO) return;
  throw invalid(
    `the archive expands to more than ${HIGHEST_RATIO} times its ${sourceBytes} bytes; it was given up after ${unpackedBytes} bytes`,
    { hint: 'If it is meant, make the image with its layers not compressed.' },
  );
}
