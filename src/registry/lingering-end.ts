import type { IncomingMessage, ServerResponse } from 'node:http';

/** How long a client may go on sending after it was refused. */
const LINGER_MS = 2000;

/**
 * Ends an answer that came before its request was read to the end. Closing at once would break the connection under a
 * client that is still sending, and the answer would be lost: what comes is dropped for at most 2 s.
 */
export function endAfter(request: IncomingMessage, response: ServerResponse): void {
  const end = (): void => {
    response.end();
  };
  if (request.complete || request.destroyed) {
    end();
    return;
  }
  const timer = setTimeout(end, LINGER_MS).unref();
  request.once('close', () => {
    clearTimeout(timer);
    end();
  });
  request.resume();
}
