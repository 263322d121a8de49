import { z } from 'zod';
import { invalid, notImplemented } from '#model/errors.ts';
import type { GenericResource, NetworkAttachmentConfig, Placement, TaskSpec } from '#model/task-spec.ts';
import { containerSpecSchema } from './container-spec-request.ts';
import { integer, present, textMap } from './request-body.ts';
import { count, oneOf } from './service-fields.ts';

const genericResource = z
  .object({
    NamedResourceSpec: z.object({ Kind: z.string(), Value: z.string() }).nullish(),
    // a client of Go leaves out what is 0
    DiscreteResourceSpec: z
      .object({ Kind: z.string(), Value: integer.nullish() })
      .transform(({ Kind, Value }) => ({ Kind, Value: Value ?? 0 }))
      .nullish(),
  })
  .transform(({ NamedResourceSpec, DiscreteResourceSpec }, context): GenericResource => {
    if (DiscreteResourceSpec) return { DiscreteResourceSpec };
    if (NamedResourceSpec) return { NamedResourceSpec };
    context.addIssue('is neither a NamedResourceSpec nor a DiscreteResourceSpec');
    return z.NEVER;
  });

const resources = z
  .object({
    Limits: z
      .object({ NanoCPUs: integer.nullish(), MemoryBytes: integer.nullish(), Pids: integer.nullish() })
      .transform(present)
      .nullish(),
    Reservations: z
      .object({
        NanoCPUs: integer.nullish(),
        MemoryBytes: integer.nullish(),
        GenericResources: z.array(genericResource).nullish(),
      })
      .transform(present)
      .nullish(),
  })
  .transform(present);

const restartPolicy = z
  .object({
    Condition: oneOf(['none', 'on-failure', 'any'], (given) => `invalid RestartCondition: "${given}"`),
    Delay: integer.nullish(),
    MaxAttempts: count.nullish(),
    Window: integer.nullish(),
  })
  .transform(present);

const preference = z.object({
  Spread: z.object({ SpreadDescriptor: z.string().nullish() }).nullish(),
});

const placement = z
  .object({
    Constraints: z.array(z.string()).nullish(),
    Preferences: z.array(preference).nullish(),
    MaxReplicas: count.nullish(),
    Platforms: z
      .array(z.object({ Architecture: z.string().nullish(), OS: z.string().nullish() }).transform(present))
      .nullish(),
  })
  .transform(({ Preferences, ...rest }): Placement => {
    const spreads = Preferences?.flatMap(({ Spread }) =>
      Spread ? [{ Spread: { SpreadDescriptor: Spread.SpreadDescriptor ?? '' } }] : [],
    );
    return present({ ...rest, Preferences: spreads });
  });

/** A network as services name it, by name or ID. */
export const attachmentSchema: z.ZodType<NetworkAttachmentConfig> = z
  .object({
    Target: z.string().nullish(),
    Aliases: z.array(z.string()).nullish(),
    DriverOpts: textMap.nullish(),
  })
  .transform(({ Target, ...rest }): NetworkAttachmentConfig => ({ Target: Target ?? '', ...present(rest) }));

/** A task's template as clients send it. Tasks that are not containers are refused by name. */
export const taskSpecSchema: z.ZodType<TaskSpec> = z
  .object({
    ContainerSpec: containerSpecSchema.nullish(),
    PluginSpec: z.unknown().optional(),
    NetworkAttachmentSpec: z.unknown().optional(),
    Resources: resources.nullish(),
    RestartPolicy: restartPolicy.nullish(),
    Placement: placement.nullish(),
    ForceUpdate: count.nullish(),
    Runtime: z.string().nullish(),
    Networks: z.array(attachmentSchema).nullish(),
    LogDriver: z
      .object({ Name: z.string().nullish(), Options: textMap.nullish() })
      .transform(present)
      .nullish(),
  })
  .transform(({ ContainerSpec, PluginSpec, NetworkAttachmentSpec, Runtime, ...rest }): TaskSpec => {
    if (isGiven(PluginSpec) || Runtime === 'plugin')
      throw notImplemented('services of plugins are not there: use a ContainerSpec');
    if (isGiven(NetworkAttachmentSpec) || Runtime === 'attachment')
      throw notImplemented('NetworkAttachmentSpec is made by Docker itself: use a ContainerSpec');
    const runtime = Runtime === null || Runtime === '' ? undefined : Runtime;
    if (runtime !== undefined && runtime !== 'container') throw invalid('unsupported runtime');
    if (!ContainerSpec) throw invalid('mismatched Runtime and *Spec fields');
    return { ContainerSpec, ...present({ ...rest, Runtime: runtime }) };
  });

function isGiven(value: unknown): boolean {
  return value !== null && value !== undefined;
}
