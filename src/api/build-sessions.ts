import type { Duplex } from 'node:stream';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import type { Route } from './route.ts';

/** What BuildKit's clients ask for besides a build; `/grpc` is not in the API's description. */
export const buildSessionRoutes: readonly Route[] = [
  { method: 'POST', path: '/session', operation: 'Session', handler: attach },
  { method: 'POST', path: '/grpc', operation: 'Grpc', handler: control },
];

const PROTOCOL = 'h2c';
const HEADER = 'x-docker-expose-session-';

/** A client offers itself to its build: over this connection the daemon calls it. */
async function attach(call: Call): Promise<void> {
  const id = header(call, 'uuid');
  if (id === '') throw invalid(`the session has no ID: the header ${HEADER}uuid is missing`);
  const { sessions } = await call.parts.buildkit();
  const methods = header(call, 'grpc-method').split(',');
  const o = { id, sharedKey: header(call, 'sharedkey'), methods: methods.map((each) => each.trim()) };
  await sessions.attach(takeOver(call), o);
}

async function control(call: Call): Promise<void> {
  const buildkit = await call.parts.buildkit();
  buildkit.serve(takeOver(call));
}

function takeOver(call: Call): Duplex {
  if (call.connection?.style !== 'upgrade')
    throw invalid(`${call.request.url ?? ''} is for connections that are upgraded to ${PROTOCOL}`);
  return call.takeConnection(undefined, PROTOCOL);
}

function header(call: Call, name: string): string {
  const value = call.request.headers[HEADER + name];
  return (Array.isArray(value) ? value.join(',') : value) ?? '';
}
