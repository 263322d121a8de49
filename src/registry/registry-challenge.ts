import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { RegistryAccess } from './registry-access.ts';

/** Tells the client with its answer how to get further: where tokens are, and for what. */
export function challenge(
  access: RegistryAccess,
  o: { request: IncomingMessage; response: ServerResponse },
  scope: string | undefined,
  error?: string,
): void {
  const origin = originOf(o.request);
  o.response.setHeader(
    'WWW-Authenticate',
    access.challenge({ origin, scope, ...(error === undefined ? {} : { error }) }),
  );
}

/** Where the client thinks the registry is. */
function originOf(request: IncomingMessage): string {
  const forwarded = request.headers['x-forwarded-proto'];
  const isTls = 'encrypted' in request.socket && (request.socket as TLSSocket).encrypted;
  const scheme =
    typeof forwarded === 'string' && /^https?$/.test(forwarded) ? forwarded : isTls ? 'https' : 'http';
  return `${scheme}://${request.headers.host ?? 'localhost'}`;
}
