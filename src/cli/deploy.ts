import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { checkStackName, stackRequest } from '#compose/stack-request.ts';
import { conflict, internal, invalid, notFound } from '#model/errors.ts';
import type { StackRequest } from '#model/stack.ts';
import type { StackPlan } from '#model/stack-plan.ts';
import type { StackProgress } from '#model/stack-progress.ts';
import type { ApiClient } from './api-client.ts';
import { DeployView } from './deploy-view.ts';
import { planText } from './plan-view.ts';
import { loadProject, type ProjectFlags } from './project-files.ts';
import { registryConfigHeader } from './registry-credentials.ts';

export interface StackFlags extends ProjectFlags {
  resolveImage: string;
  withRegistryAuth: boolean;
}

export interface PlanFlags extends StackFlags {
  drift: boolean;
  format: string;
  out?: string;
}

export interface DeployFlags extends StackFlags {
  detach: boolean;
  dryRun: boolean;
  format: string;
  plan?: string;
}

/** A plan that was written to a file, with all that its deployment needs. */
interface PlanFile {
  readonly droverPlan: 1;
  readonly stack: StackRequest;
  readonly plan: StackPlan;
}

/** `drover plan`. */
export async function plan(client: ApiClient, stack: string, o: PlanFlags): Promise<void> {
  checkStackName(stack);
  if (o.drift && o.out !== undefined) throw invalid('--out is for the plan of a file: leave out --drift');
  const request = o.drift ? undefined : loadStack(stack, o);
  const found = await askPlan(
    client,
    stack,
    request === undefined ? { Release: 'last' } : bodyOf(request, o),
    o,
  );
  if (o.out !== undefined && request !== undefined) writePlan(o.out, { stack: request, plan: found });
  print(found, o.format);
}

/** `drover deploy`. */
export async function deploy(client: ApiClient, name: string | undefined, o: DeployFlags): Promise<void> {
  const file = o.plan === undefined ? undefined : readPlan(o.plan);
  const stack = name ?? file?.stack.name;
  if (stack === undefined) throw invalid('name the stack: drover deploy STACK');
  checkStackName(stack);
  if (file !== undefined && file.stack.name !== stack)
    throw invalid(`${o.plan} is a plan of the stack ${file.stack.name}, not of ${stack}`);
  const body =
    file === undefined
      ? bodyOf(loadStack(stack, o), o)
      : { Stack: file.stack, ResolveImage: 'never', Basis: file.plan.basis };
  if (o.dryRun) {
    print(await askPlan(client, stack, body, o), o.format);
    return;
  }
  await release(client, stack, body, o);
}

/** `drover rollback`. */
export async function rollBack(
  client: ApiClient,
  stack: string,
  number: string | undefined,
  o: { detach: boolean; dryRun: boolean; format: string },
): Promise<void> {
  if (number !== undefined && !/^[1-9]\d*$/.test(number))
    throw invalid(`${JSON.stringify(number)} is no number of a release: see drover releases ${stack}`);
  const body = { RollBackTo: number === undefined ? null : Number(number) };
  if (o.dryRun) print(await askPlan(client, stack, body, {}), o.format);
  else await release(client, stack, body, { ...o, withRegistryAuth: false });
}

function loadStack(stack: string, o: StackFlags): StackRequest {
  const project = loadProject({ ...o, projectName: stack });
  return stackRequest(project, {
    readContent: (path) => (existsSync(path) ? readFileSync(path) : undefined),
    warn: (message) => console.error(`warning: ${message}`),
  });
}

function bodyOf(stack: StackRequest, { resolveImage }: StackFlags): object {
  if (!['always', 'changed', 'never'].includes(resolveImage))
    throw invalid(`--resolve-image ${resolveImage}: use always, changed or never`);
  return { Stack: stack, ResolveImage: resolveImage };
}

async function askPlan(
  client: ApiClient,
  stack: string,
  body: object,
  o: { withRegistryAuth?: boolean },
): Promise<StackPlan> {
  return await client.call('POST', `/stacks/${stack}/plan`, body, authHeader(o));
}

function authHeader({ withRegistryAuth = false }: { withRegistryAuth?: boolean }): Record<string, string> {
  return withRegistryAuth ? registryConfigHeader() : {};
}

function print(found: StackPlan, format: string): void {
  if (format === 'json') console.log(JSON.stringify(found, undefined, 2));
  else process.stdout.write(planText(found, { colour: process.stdout.isTTY }));
}

interface ReleaseAnswer {
  Number: number;
  Outcome: 'created' | 'again' | 'unchanged';
  Warnings: string[];
  From?: number;
}

/** Makes a release, and follows it to its end unless it is not to be waited for. */
async function release(
  client: ApiClient,
  stack: string,
  body: object,
  o: { detach: boolean; withRegistryAuth: boolean },
): Promise<void> {
  const path = `/stacks/${stack}/releases`;
  const answer = await client.call<ReleaseAnswer>('POST', path, body, authHeader(o));
  for (const warning of answer.Warnings) console.error(`warning: ${warning}`);
  console.error(beginning(stack, answer));
  if (o.detach) return;
  const end = await follow(client, `${path}/${answer.Number}/progress`);
  const { State, Message } = end.status;
  if (State === 'deployed') {
    console.error(`Stack ${stack}: release ${end.release} is deployed.`);
    return;
  }
  if (State === 'superseded') throw conflict(`release ${end.release} of ${stack} gave way to a later one`);
  throw internal(`release ${end.release} of ${stack} failed: ${Message}`, {
    hint: `See: docker stack ps ${stack}   Go back with: drover rollback ${stack}`,
  });
}

function beginning(stack: string, { Number: number, Outcome, From }: ReleaseAnswer): string {
  const from = From === undefined ? '' : `, which is release ${From} again`;
  switch (Outcome) {
    case 'created':
      return `Stack ${stack}: release ${number}${from}`;
    case 'again':
      return `Stack ${stack}: release ${number} is what is asked for; what differs from it is brought back`;
    case 'unchanged':
      return `Stack ${stack}: release ${number} is what is asked for already`;
  }
}

async function follow(client: ApiClient, path: string): Promise<StackProgress> {
  const view = new DeployView(process.stderr);
  let last: StackProgress | undefined;
  for await (const line of client.lines('GET', path)) {
    if (!isProgress(line)) throw internal(errorOf(line));
    last = line;
    view.show(last);
  }
  if (last === undefined || last.status.State === 'deploying') {
    throw internal('the daemon ended while it was waited for', {
      hint: 'The deployment goes on without it: see drover releases.',
    });
  }
  return last;
}

function isProgress(line: unknown): line is StackProgress {
  return typeof line === 'object' && line !== null && 'services' in line && 'status' in line;
}

function errorOf(line: unknown): string {
  return typeof line === 'object' && line !== null && 'error' in line
    ? String(line.error)
    : 'the answer is no progress';
}

/** Only its owner reads it: it holds the contents of secrets. Images are those that the plan is about. */
function writePlan(path: string, { stack, plan: found }: { stack: StackRequest; plan: StackPlan }): void {
  const services = stack.services.map((service) => {
    const { ContainerSpec, ...template } = service.spec.TaskTemplate;
    const Image = found.images[ContainerSpec.Image] ?? ContainerSpec.Image;
    const TaskTemplate = { ...template, ContainerSpec: { ...ContainerSpec, Image } };
    return { ...service, spec: { ...service.spec, TaskTemplate } };
  });
  const file: PlanFile = { droverPlan: 1, stack: { ...stack, services }, plan: found };
  writeFileSync(path, '', { mode: 0o600 });
  chmodSync(path, 0o600);
  writeFileSync(path, `${JSON.stringify(file, undefined, 2)}\n`);
}

function readPlan(path: string): PlanFile {
  if (!existsSync(path)) throw notFound(`${path}: no such file`);
  const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (!isPlanFile(parsed))
    throw invalid(`${path} is no plan of this version: make one with drover plan --out`);
  return parsed;
}

function isPlanFile(value: unknown): value is PlanFile {
  return typeof value === 'object' && value !== null && 'droverPlan' in value && value.droverPlan === 1;
}
