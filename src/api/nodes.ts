import { z } from 'zod';
import { invalid } from '#model/errors.ts';
import type { NodeSpec } from '#model/node.ts';
import type { Call } from './call.ts';
import { parseFilters } from './filters.ts';
import { nodeView } from './node-view.ts';
import { booleanOf, versionOf } from './query.ts';
import { present, readBody, textMap } from './request-body.ts';
import type { Route } from './route.ts';

export const nodeRoutes: readonly Route[] = [
  { method: 'GET', path: '/nodes', operation: 'NodeList', handler: list },
  { method: 'GET', path: '/nodes/{id}', operation: 'NodeInspect', handler: inspect },
  { method: 'DELETE', path: '/nodes/{id}', operation: 'NodeDelete', handler: remove },
  { method: 'POST', path: '/nodes/{id}/update', operation: 'NodeUpdate', handler: update },
];

function list(call: Call): void {
  const { nodes } = call.parts.cluster.control();
  const accepted = ['id', 'label', 'membership', 'name', 'node.label', 'role'];
  call.json(200, nodes.list(parseFilters(call.query.get('filters'), accepted)).map(nodeView));
}

function inspect(call: Call): void {
  call.json(200, nodeView(call.parts.cluster.control().nodes.inspect(call.param('id'))));
}

const specSchema = z
  .object({
    Name: z.string().nullish(),
    Labels: textMap.nullish(),
    Role: z.string().nullish(),
    Availability: z.string().nullish(),
  })
  .transform(({ Role, Availability, Name, Labels }): NodeSpec => {
    const role = (['worker', 'manager'] as const).find((known) => known === Role);
    if (role === undefined) throw invalid(`invalid Role: "${Role ?? ''}"`);
    const availability = (['active', 'pause', 'drain'] as const).find((known) => known === Availability);
    if (availability === undefined) throw invalid(`invalid Availability: "${Availability ?? ''}"`);
    return { ...present({ Name, Labels }), Role: role, Availability: availability };
  });

async function update(call: Call): Promise<void> {
  const { nodes } = call.parts.cluster.control();
  const version = versionOf(call.query, 'node');
  await nodes.update(call.param('id'), { version, spec: await readBody(call, specSchema) });
  call.empty(200);
}

async function remove(call: Call): Promise<void> {
  const { nodes } = call.parts.cluster.control();
  await nodes.remove(call.param('id'), { force: booleanOf(call.query, 'force') });
  call.empty(200);
}
