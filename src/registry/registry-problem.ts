import { DroverError, type ErrorDetails, type ErrorKind } from '#model/errors.ts';

export type ProblemCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'RANGE_INVALID'
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'UNSUPPORTED'
  | 'UNAVAILABLE'
  | 'TOOMANYREQUESTS';

/** The distribution specification's error codes, each with the status it is answered with. */
const CODES: Record<ProblemCode, { status: number; kind: ErrorKind }> = {
  BLOB_UNKNOWN: { status: 404, kind: 'not-found' },
  BLOB_UPLOAD_INVALID: { status: 400, kind: 'invalid' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, kind: 'not-found' },
  DIGEST_INVALID: { status: 400, kind: 'invalid' },
  MANIFEST_BLOB_UNKNOWN: { status: 404, kind: 'not-found' },
  MANIFEST_INVALID: { status: 400, kind: 'invalid' },
  MANIFEST_UNKNOWN: { status: 404, kind: 'not-found' },
  NAME_INVALID: { status: 400, kind: 'invalid' },
  NAME_UNKNOWN: { status: 404, kind: 'not-found' },
  SIZE_INVALID: { status: 413, kind: 'invalid' },
  RANGE_INVALID: { status: 416, kind: 'invalid' },
  UNAUTHORIZED: { status: 401, kind: 'unauthorized' },
  DENIED: { status: 403, kind: 'forbidden' },
  UNSUPPORTED: { status: 405, kind: 'not-implemented' },
  UNAVAILABLE: { status: 503, kind: 'unavailable' },
  TOOMANYREQUESTS: { status: 429, kind: 'unavailable' },
};

/** An error of the registry's clients to read: the specification's code beside our kind. */
export class RegistryProblem extends DroverError {
  readonly code: ProblemCode;

  constructor(code: ProblemCode, message: string, details: ErrorDetails = {}) {
    super(CODES[code].kind, message, details);
    this.code = code;
  }

  get status(): number {
    return CODES[this.code].status;
  }
}

/** How any error is answered. */
export function problemOf(error: DroverError): { status: number; code: string } {
  if (error instanceof RegistryProblem) return { status: error.status, code: error.code };
  const entries = Object.entries(CODES);
  const [code = 'UNKNOWN', { status } = { status: 500 }] =
    entries.find(([name, { kind }]) => kind === error.kind && name !== 'BLOB_UNKNOWN') ?? [];
  return { status, code };
}
