import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { integerOf } from './query.ts';
import type { Route } from './route.ts';

/** A container's life: start, stop and all between, and waiting for its end. */
export const containerLifecycleRoutes: readonly Route[] = [
  { method: 'POST', path: '/containers/{id}/start', operation: 'ContainerStart', handler: start },
  { method: 'POST', path: '/containers/{id}/stop', operation: 'ContainerStop', handler: stop },
  { method: 'POST', path: '/containers/{id}/restart', operation: 'ContainerRestart', handler: restart },
  { method: 'POST', path: '/containers/{id}/kill', operation: 'ContainerKill', handler: kill },
  { method: 'POST', path: '/containers/{id}/pause', operation: 'ContainerPause', handler: pause },
  { method: 'POST', path: '/containers/{id}/unpause', operation: 'ContainerUnpause', handler: unpause },
  { method: 'POST', path: '/containers/{id}/resize', operation: 'ContainerResize', handler: resize },
  { method: 'POST', path: '/containers/{id}/wait', operation: 'ContainerWait', handler: wait },
];

/** A body of this many bytes is `null`, `{}` or white space; a longer one is the HostConfig of API 1.22. */
const EMPTY_BODY_BYTES = 7;

async function start(call: Call): Promise<void> {
  const { headers } = call.request;
  const length = Number(headers['content-length'] ?? 0);
  if (length > EMPTY_BODY_BYTES || headers['transfer-encoding'] !== undefined) {
    throw invalid(
      'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
    );
  }
  if ((call.query.get('checkpoint') ?? '') !== '') throw invalid('checkpoint: checkpoints are not there yet');
  await call.parts.containers.startContainer(call.param('id'));
  call.empty(204);
}

/** `t` in seconds and `signal`, where they were given. */
function stopOptions(call: Call): { timeoutSeconds?: number; signal?: string } {
  const timeoutSeconds = integerOf(call.query, 't');
  const signal = call.query.get('signal') ?? '';
  return {
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
    ...(signal === '' ? {} : { signal }),
  };
}

async function stop(call: Call): Promise<void> {
  await call.parts.containers.stopContainer(call.param('id'), stopOptions(call));
  call.empty(204);
}

async function restart(call: Call): Promise<void> {
  await call.parts.containers.restartContainer(call.param('id'), stopOptions(call));
  call.empty(204);
}

async function kill(call: Call): Promise<void> {
  const signal = call.query.get('signal') ?? '';
  await call.parts.containers.kill(call.param('id'), signal === '' ? 'SIGKILL' : signal);
  call.empty(204);
}

async function pause(call: Call): Promise<void> {
  await call.parts.containers.pause(call.param('id'));
  call.empty(204);
}

async function unpause(call: Call): Promise<void> {
  await call.parts.containers.unpause(call.param('id'));
  call.empty(204);
}

/** Height and width of a terminal from `h` and `w`. */
export function terminalSize(call: Call): { height: number; width: number } {
  const height = integerOf(call.query, 'h');
  const width = integerOf(call.query, 'w');
  if (height === undefined || height < 0 || height > 65_535)
    throw invalid('invalid value for h: not a height');
  if (width === undefined || width < 0 || width > 65_535) throw invalid('invalid value for w: not a width');
  return { height, width };
}

async function resize(call: Call): Promise<void> {
  await call.parts.containers.resize(call.param('id'), terminalSize(call));
  call.empty(200);
}

const CONDITIONS = ['not-running', 'next-exit', 'removed'] as const;

/** The head goes out at once: `docker run` starts its container only after it, so that no exit is missed. */
async function wait(call: Call): Promise<void> {
  const asked = call.query.get('condition') ?? '';
  const condition = CONDITIONS.find((known) => known === (asked === '' ? 'not-running' : asked));
  if (condition === undefined) throw invalid(`invalid condition: ${JSON.stringify(asked)}`);
  const { containers } = call.parts;
  // the ID, so that a rename or a namesake in the meantime changes nothing
  const { id } = containers.resolve(call.param('id'));
  const ended = containers.wait(id, condition, call.signal);
  const response = call.startStream('application/json');
  response.end(`${JSON.stringify(await ended)}\n`);
}
