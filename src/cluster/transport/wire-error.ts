import { DroverError, type ErrorKind, kindOf, messageOf } from '#model/errors.ts';

/** An error as it goes from one node to another. */
export interface WireError {
  readonly kind: ErrorKind;
  readonly message: string;
  readonly hint?: string;
}

const LONGEST_TEXT = 4096;
const KINDS: Readonly<Record<ErrorKind, true>> = {
  'not-found': true,
  conflict: true,
  invalid: true,
  forbidden: true,
  unauthorized: true,
  unavailable: true,
  'not-implemented': true,
  'not-modified': true,
  cancelled: true,
  internal: true,
};

/** What the other side is told of an error. Of one that nobody foresaw, only that there was one. */
export function toWire(error: unknown): WireError {
  const kind = kindOf(error);
  if (kind === 'internal' || !(error instanceof DroverError))
    return { kind: 'internal', message: 'internal error of the other node; its log says more' };
  const { hint } = error;
  const message = messageOf(error).slice(0, LONGEST_TEXT);
  return { kind, message, ...(hint !== undefined && { hint: hint.slice(0, LONGEST_TEXT) }) };
}

/** The error that another node told of; what cannot be read is an internal one. */
export function fromWire(value: unknown): DroverError {
  if (typeof value !== 'object' || value === null || !('kind' in value) || !('message' in value))
    return new DroverError('internal', 'the other node ended with an error that cannot be read');
  const { kind, message } = value;
  const hint = 'hint' in value && typeof value.hint === 'string' ? value.hint : undefined;
  return new DroverError(
    isKind(kind) ? kind : 'internal',
    String(message).slice(0, LONGEST_TEXT),
    hint === undefined ? {} : { hint: hint.slice(0, LONGEST_TEXT) },
  );
}

function isKind(kind: unknown): kind is ErrorKind {
  return typeof kind === 'string' && Object.hasOwn(KINDS, kind);
}
