import type { ErrorKind } from '#model/errors.ts';

/** The one place where the kind of an error becomes an HTTP status. */
export function statusOf(kind: ErrorKind): number {
  switch (kind) {
    case 'not-found':
      return 404;
    case 'conflict':
      return 409;
    case 'invalid':
      return 400;
    case 'forbidden':
      return 403;
    case 'unauthorized':
      return 401;
    case 'unavailable':
      return 503;
    case 'not-implemented':
      return 501;
    case 'not-modified':
      return 304;
    // nginx's "client closed request": nobody is there to read it, the log shows it apart from real failures
    case 'cancelled':
      return 499;
    case 'internal':
      return 500;
  }
}
