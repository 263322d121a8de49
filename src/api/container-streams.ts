import { carrySession } from './attach-stream.ts';
import type { Call } from './call.ts';
import { parseDetachKeys } from './detach-keys.ts';
import { logLine } from './log-line.ts';
import { logOptionsOf, sendLog } from './log-response.ts';
import { booleanOf } from './query.ts';
import type { Route } from './route.ts';
import { streamMediaType } from './stream-frame.ts';

/** What a container reads and writes: attach and logs. */
export const containerStreamRoutes: readonly Route[] = [
  { method: 'POST', path: '/containers/{id}/attach', operation: 'ContainerAttach', handler: attach },
  { method: 'GET', path: '/containers/{id}/logs', operation: 'ContainerLogs', handler: logs },
];

async function attach(call: Call): Promise<void> {
  const { query, parts } = call;
  const detachKeys = parseDetachKeys(query.get('detachKeys') ?? '');
  const session = await parts.containers.attach(call.param('id'), {
    stdin: booleanOf(query, 'stdin'),
    stdout: booleanOf(query, 'stdout'),
    stderr: booleanOf(query, 'stderr'),
    stream: booleanOf(query, 'stream'),
    logs: booleanOf(query, 'logs'),
  });
  await carryOverConnection(call, session, detachKeys);
}

/**
 * Carries a session over the connection the client takes over, or over an ordinary answer when the client did not:
 * then what is left of the request's body is stdin.
 */
export async function carryOverConnection(
  call: Call,
  session: Parameters<typeof carrySession>[0]['session'],
  detachKeys: readonly number[],
): Promise<void> {
  const mediaType = streamMediaType({ tty: session.tty, version: call.version });
  const { signal } = call;
  if (call.connection === undefined) {
    const sink = call.startStream(mediaType);
    await carrySession({ session, source: call.request, sink, detachKeys, signal });
    return;
  }
  const socket = call.takeConnection(mediaType);
  await carrySession({ session, source: socket, sink: socket, detachKeys, signal });
}

async function logs(call: Call): Promise<void> {
  const { tty, records } = call.parts.containers.logs(call.param('id'), logOptionsOf(call));
  await sendLog(call, { tty, records, lineOf: logLine });
}
