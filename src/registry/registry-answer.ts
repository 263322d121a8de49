import type { ServerResponse } from 'node:http';
import type { Exchange } from './registry-route.ts';

export function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  type = 'application/json',
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

/** Answers 304 where the client says that it has the content already; true where that was the answer. */
export function sendUnchanged({ request, response }: Exchange, digest: string): boolean {
  if (request.headers['if-none-match']?.includes(digest) !== true) return false;
  response.writeHead(304, { ETag: `"${digest}"` }).end();
  return true;
}
