import { z } from 'zod';
import type { Call } from './call.ts';
import { booleanOf, versionOf } from './query.ts';
import { readBody } from './request-body.ts';
import type { Route } from './route.ts';
import { initSchema, joinSchema, swarmSpecSchema } from './swarm-request.ts';
import { swarmView } from './swarm-view.ts';

export const swarmRoutes: readonly Route[] = [
  { method: 'GET', path: '/swarm', operation: 'SwarmInspect', handler: inspect },
  { method: 'POST', path: '/swarm/init', operation: 'SwarmInit', handler: init },
  { method: 'POST', path: '/swarm/join', operation: 'SwarmJoin', handler: join },
  { method: 'POST', path: '/swarm/leave', operation: 'SwarmLeave', handler: leave },
  { method: 'POST', path: '/swarm/update', operation: 'SwarmUpdate', handler: update },
  { method: 'GET', path: '/swarm/unlockkey', operation: 'SwarmUnlockkey', handler: unlockKey },
  { method: 'POST', path: '/swarm/unlock', operation: 'SwarmUnlock', handler: unlock },
];

function inspect(call: Call): void {
  call.json(200, swarmView(call.parts.cluster.control()));
}

async function init(call: Call): Promise<void> {
  call.json(200, await call.parts.cluster.init(await readBody(call, initSchema)));
}

async function join(call: Call): Promise<void> {
  await call.parts.cluster.join(await readBody(call, joinSchema));
  call.empty(200);
}

async function leave(call: Call): Promise<void> {
  await call.parts.cluster.leave({ force: booleanOf(call.query, 'force') });
  call.empty(200);
}

async function update(call: Call): Promise<void> {
  const { swarm } = call.parts.cluster.control();
  const { query } = call;
  const version = versionOf(query, 'swarm');
  const spec = await readBody(call, swarmSpecSchema);
  await swarm.update({
    version,
    spec: { ...spec, Name: spec.Name ?? '' },
    rotateWorkerToken: booleanOf(query, 'rotateWorkerToken'),
    rotateManagerToken: booleanOf(query, 'rotateManagerToken'),
    rotateManagerUnlockKey: booleanOf(query, 'rotateManagerUnlockKey'),
  });
  call.empty(200);
}

async function unlockKey(call: Call): Promise<void> {
  call.json(200, { UnlockKey: await call.parts.cluster.unlockKey() });
}

async function unlock(call: Call): Promise<void> {
  const { UnlockKey } = await readBody(call, z.object({ UnlockKey: z.string().nullish() }));
  await call.parts.cluster.unlock(UnlockKey ?? '');
  call.empty(200);
}
