/** What went wrong, in one word; callers branch on it, edges map it to a status or an exit code. */
export type ErrorKind =
  | 'not-found'
  | 'conflict'
  | 'invalid'
  | 'forbidden'
  | 'unauthorized'
  | 'unavailable'
  | 'not-implemented'
  | 'not-modified'
  | 'cancelled'
  | 'internal';

export interface ErrorDetails {
  /** What the reader can do about it, as a sentence. */
  readonly hint?: string;
  /** Exit code of the process whose failure this is; programs that stand in for it end with the same. */
  readonly exitCode?: number;
  readonly cause?: unknown;
}

/** The one error class of Drover. The message is in Docker's wording and names the thing it is about. */
export class DroverError extends Error {
  readonly kind: ErrorKind;
  readonly hint: string | undefined;
  readonly exitCode: number | undefined;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'DroverError';
    this.kind = kind;
    this.hint = details.hint;
    this.exitCode = details.exitCode;
  }
}

export function notFound(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('not-found', message, details);
}

export function conflict(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('conflict', message, details);
}

export function invalid(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('invalid', message, details);
}

export function forbidden(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('forbidden', message, details);
}

export function unavailable(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('unavailable', message, details);
}

export function notImplemented(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('not-implemented', message, details);
}

export function notModified(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('not-modified', message, details);
}

export function cancelled(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('cancelled', message, details);
}

export function internal(message: string, details?: ErrorDetails): DroverError {
  return new DroverError('internal', message, details);
}

/** The kind of any thrown value; what is not a {@link DroverError} is `internal`. */
export function kindOf(error: unknown): ErrorKind {
  return error instanceof DroverError ? error.kind : 'internal';
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
