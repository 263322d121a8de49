import { parseReference } from '#engine/images/reference.ts';
import { invalid } from '#model/errors.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { StackRequest } from '#model/stack.ts';
import { credentialsFor, parseRegistryConfig } from '#registry/credentials.ts';
import type { Call } from './call.ts';
import { JsonStream } from './json-stream.ts';
import { readBody } from './request-body.ts';
import type { Route } from './route.ts';
import { stackCallSchema } from './stack-request.ts';

/** What Docker's API has no words for: stacks are a matter of its clients alone there. */
export const stackRoutes: readonly Route[] = [
  { method: 'GET', path: '/stacks', operation: 'StackList', handler: list },
  { method: 'DELETE', path: '/stacks/{id}', operation: 'StackDelete', handler: remove },
  { method: 'POST', path: '/stacks/{id}/plan', operation: 'StackPlan', handler: plan },
  { method: 'GET', path: '/stacks/{id}/releases', operation: 'StackReleaseList', handler: releases },
  { method: 'POST', path: '/stacks/{id}/releases', operation: 'StackReleaseCreate', handler: deploy },
  {
    method: 'GET',
    path: '/stacks/{id}/releases/{number}',
    operation: 'StackReleaseInspect',
    handler: inspect,
  },
  {
    method: 'GET',
    path: '/stacks/{id}/releases/{number}/progress',
    operation: 'StackReleaseProgress',
    handler: progress,
  },
];

function list(call: Call): void {
  const stacks = call.parts.cluster.control().releases.list();
  call.json(
    200,
    stacks.map(({ name, services, release }) => ({
      Name: name,
      Services: services,
      Release: release === undefined ? null : releaseView(release),
    })),
  );
}

async function remove(call: Call): Promise<void> {
  await call.parts.cluster.control().releases.remove(call.param('id'));
  call.empty(204);
}

/** What a deployment would do. A rollback is planned as the deployment of the release that it goes back to. */
async function plan(call: Call): Promise<void> {
  const stack = call.param('id');
  const { what } = await readBody(call, stackCallSchema);
  const { releases: control } = call.parts.cluster.control();
  if ('rollBackTo' in what) {
    const release = control.rollbackTarget(stack, what.rollBackTo);
    call.json(200, await control.plan(stack, { release }));
    return;
  }
  if ('stack' in what) checkName(stack, what.stack);
  call.json(
    200,
    await control.plan(stack, 'stack' in what ? { ...what, ...registryAuth(call, what.stack) } : what),
  );
}

async function deploy(call: Call): Promise<void> {
  const stack = call.param('id');
  const { what, basis } = await readBody(call, stackCallSchema);
  const { releases: control } = call.parts.cluster.control();
  if ('release' in what) throw invalid('Release is for plans: deploy a Stack, or RollBackTo a release');
  if ('rollBackTo' in what) {
    const { number, outcome, warnings, from } = await control.rollBack(stack, what.rollBackTo, basis);
    call.json(201, { Number: number, Outcome: outcome, Warnings: warnings, From: from });
    return;
  }
  checkName(stack, what.stack);
  const request = { ...what, basis, ...registryAuth(call, what.stack) };
  const { number, outcome, warnings } = await control.deploy(request);
  call.json(outcome === 'created' ? 201 : 200, { Number: number, Outcome: outcome, Warnings: warnings });
}

function releases(call: Call): void {
  call.json(200, call.parts.cluster.control().releases.releases(call.param('id')).map(releaseView));
}

function inspect(call: Call): void {
  const { record } = call.parts.cluster.control().releases.inspect(call.param('id'), numberOf(call));
  call.json(200, { ...releaseView(record), Spec: record.spec });
}

/** Lines of JSON: how the deployment is now, and whenever that changes, until it is over. */
async function progress(call: Call): Promise<void> {
  const { releases: control } = call.parts.cluster.control();
  const { record } = control.inspect(call.param('id'), numberOf(call));
  const stream = new JsonStream(call);
  try {
    for await (const line of control.follow(record.stack, record.number, call.signal)) stream.write(line);
    stream.end();
  } catch (error) {
    stream.fail(error);
  }
}

/** Without what only managers are to know. */
function releaseView({ stack, number, rollbackOf, CreatedAt, status, spec }: ReleaseRecord): object {
  return {
    Stack: stack,
    Number: number,
    CreatedAt,
    RollbackOf: rollbackOf ?? null,
    State: status.State,
    Message: status.Message,
    Since: status.since,
    Services: spec.services.map((service) => ({
      Name: service.spec.Name,
      Image: service.spec.TaskTemplate.ContainerSpec.Image,
    })),
  };
}

function numberOf(call: Call): number | 'last' {
  const text = call.param('number');
  if (text === 'last') return text;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw invalid(`invalid release ${JSON.stringify(text)}: give its number`);
  return Number(text);
}

function checkName(stack: string, request: StackRequest): void {
  if (request.name !== stack) throw invalid(`the stack in the body is called ${request.name}, not ${stack}`);
}

/** Each service's part of `X-Registry-Config`, in which a client sends what it knows of registries. */
function registryAuth(call: Call, { services }: StackRequest): { registryAuth: Record<string, string> } {
  const header = call.request.headers['x-registry-config'];
  const table = parseRegistryConfig(Array.isArray(header) ? header[0] : header);
  const auths = services.flatMap(({ key, spec }) => {
    const [host = ''] = parseReference(spec.TaskTemplate.ContainerSpec.Image).name.split('/', 1);
    const credentials = credentialsFor(host, table);
    if (Object.keys(credentials).length === 0) return [];
    return [[key, Buffer.from(JSON.stringify(credentials)).toString('base64url')] as const];
  });
  return { registryAuth: Object.fromEntries(auths) };
}
