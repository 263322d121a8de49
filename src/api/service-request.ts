import { z } from 'zod';
import { invalid } from '#model/errors.ts';
import type { EndpointSpec, PortConfig, ServiceMode, ServiceSpec, UpdateConfig } from '#model/service.ts';
import { integer, present, textMap } from './request-body.ts';
import { count, oneOf } from './service-fields.ts';
import { attachmentSchema, taskSpecSchema } from './task-spec-request.ts';

const mode: z.ZodType<ServiceMode> = z
  .object({
    Replicated: z.object({ Replicas: count.nullish() }).transform(present).nullish(),
    Global: z.object({}).nullish(),
    ReplicatedJob: z
      .object({ MaxConcurrent: count.nullish(), TotalCompletions: count.nullish() })
      .transform(present)
      .nullish(),
    GlobalJob: z.object({}).nullish(),
  })
  .transform(present);

const updateConfig: z.ZodType<UpdateConfig> = z
  .object({
    Parallelism: count.nullish(),
    Delay: integer.nullish(),
    FailureAction: oneOf(
      ['continue', 'pause', 'rollback'],
      (given) => `unrecognized update failure action ${given}`,
    ),
    Monitor: integer.nullish(),
    MaxFailureRatio: z.number().nullish(),
    Order: oneOf(['stop-first', 'start-first'], (given) => `unrecognized update order ${given}`),
  })
  .transform(present);

const port = z
  .object({
    Name: z.string().nullish(),
    Protocol: oneOf(['tcp', 'udp', 'sctp'], (given) => `invalid protocol: "${given}"`),
    TargetPort: integer.nullish(),
    PublishedPort: integer.nullish(),
    PublishMode: oneOf(['ingress', 'host'], (given) => `invalid publish mode: "${given}"`),
  })
  .transform(({ TargetPort, ...rest }): PortConfig => ({ TargetPort: TargetPort ?? 0, ...present(rest) }));

const endpointSpec: z.ZodType<EndpointSpec> = z
  .object({
    Mode: oneOf(['vip', 'dnsrr'], (given) => `invalid resolution mode: "${given}"`),
    Ports: z.array(port).nullish(),
  })
  .transform(present);

/** A service as create and update send it; null is "not given". */
export const serviceSpecSchema: z.ZodType<ServiceSpec> = z
  .object({
    Name: z.string().nullish(),
    Labels: textMap.nullish(),
    TaskTemplate: taskSpecSchema.nullish(),
    Mode: mode.nullish(),
    UpdateConfig: updateConfig.nullish(),
    RollbackConfig: updateConfig.nullish(),
    Networks: z.array(attachmentSchema).nullish(),
    EndpointSpec: endpointSpec.nullish(),
  })
  .transform(({ Name, TaskTemplate, ...rest }): ServiceSpec => {
    if (!TaskTemplate) throw invalid('mismatched Runtime and *Spec fields');
    return { Name: Name ?? '', TaskTemplate, ...present(rest) };
  });
