import { z } from 'zod';
import type { PlanRequest } from '#cluster/control/release-control.ts';
import { invalid } from '#model/errors.ts';
import type { StackContent, StackNetwork, StackRequest, StackService } from '#model/stack.ts';
import type { Basis } from '#model/stack-plan.ts';
import { integer, present, textMap } from './request-body.ts';
import { count } from './service-fields.ts';
import { serviceSpecSchema } from './service-request.ts';

const pool = z
  .object({ Subnet: z.string().nullish(), Gateway: z.string().nullish(), IPRange: z.string().nullish() })
  .transform(present);

const ipam = z.object({ Driver: z.string().nullish(), Config: z.array(pool).nullish() }).transform(present);

const network = z
  .object({
    name: z.string().min(1),
    external: z.boolean().default(false),
    Labels: textMap.default({}),
    Options: textMap.default({}),
    Internal: z.boolean().default(false),
    Attachable: z.boolean().default(false),
    IPAM: ipam.nullish(),
  })
  .transform(({ IPAM, ...rest }): StackNetwork => ({ ...rest, ...present({ IPAM }) }));

const content = z
  .object({
    key: z.string().min(1),
    name: z.string().nullish(),
    external: z.boolean().default(false),
    labels: textMap.default({}),
    templateDriver: z.string().nullish(),
    data: z.string().nullish(),
  })
  .transform(({ name, templateDriver, data, ...rest }): StackContent => {
    if (rest.external && !name) throw invalid(`${rest.key}: external needs a name`);
    return { ...rest, ...present({ name, templateDriver, data }) };
  });

const condition = z.enum(['service_started', 'service_healthy', 'service_completed_successfully']);

const service: z.ZodType<StackService> = z.object({
  key: z.string().min(1),
  spec: serviceSpecSchema,
  dependsOn: z.record(z.string(), condition).default({}),
});

const stack: z.ZodType<StackRequest> = z
  .object({
    name: z.string().regex(/^[a-z0-9][a-z0-9_-]*$/, 'is no name of a stack'),
    networks: z.array(network).default([]),
    secrets: z.array(content).default([]),
    configs: z.array(content).default([]),
    services: z.array(service).min(1),
  })
  .transform(inOrder);

const basis: z.ZodType<Basis[]> = z.array(
  z.object({
    kind: z.enum(['release', 'service', 'network', 'secret', 'config']),
    name: z.string(),
    version: count,
  }),
);

const resolveImage = z.enum(['always', 'changed', 'never']).default('always');

/** What a plan or a release is asked for: a stack as it is to be, or a release that there is already. */
export interface StackCall {
  readonly what: PlanRequest | { readonly rollBackTo: number | undefined };
  readonly basis: Basis[];
}

/** `Stack`, or `Release`: a number or `last`; for a rollback `RollBackTo`: a number, or null for the one before. */
export const stackCallSchema: z.ZodType<StackCall> = z
  .object({
    Stack: stack.optional(),
    Release: z.union([integer, z.literal('last')]).optional(),
    RollBackTo: integer.nullable().optional(),
    ResolveImage: resolveImage,
    Basis: basis.default([]),
  })
  .transform(({ Stack, Release, RollBackTo, ResolveImage, Basis }): StackCall => {
    if (Stack !== undefined) return { what: { stack: Stack, resolveImage: ResolveImage }, basis: Basis };
    if (Release !== undefined) return { what: { release: Release }, basis: Basis };
    if (RollBackTo !== undefined) return { what: { rollBackTo: RollBackTo ?? undefined }, basis: Basis };
    throw invalid('one of Stack, Release and RollBackTo is needed');
  });

/** Each service after those that it depends on. `invalid` for one that is not there, and for a circle. */
function inOrder(request: StackRequest): StackRequest {
  const byKey = new Map(request.services.map((each) => [each.key, each]));
  const ordered = new Map<string, StackService>();
  const visit = (key: string, path: readonly string[]): void => {
    const each = byKey.get(key);
    if (each === undefined) throw invalid(`service ${path.at(-1)} depends on undefined service ${key}`);
    if (path.includes(key)) throw invalid(`dependency cycle detected: ${[...path, key].join(' -> ')}`);
    for (const dependency of Object.keys(each.dependsOn)) visit(dependency, [...path, key]);
    ordered.set(key, each);
  };
  for (const key of byKey.keys()) visit(key, []);
  return { ...request, services: [...ordered.values()] };
}
