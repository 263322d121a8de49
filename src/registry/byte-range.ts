import { RegistryProblem } from './registry-problem.ts';

/** Bytes of a blob, both ends included. */
export interface ByteRange {
  start: number;
  end: number;
}

/**
 * The one range of bytes that a Range header asks for (RFC 9110, section 14); undefined, for the whole, where it asks for anything
 * else. `RANGE_INVALID` where the blob does not have it.
 */
export function requestedRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start > end || start >= size)
    throw new RegistryProblem('RANGE_INVALID', `the range ${header} is outside of the blob's ${size} bytes`);
  return { start, end };
}
