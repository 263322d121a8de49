import type { ServiceSpec, UpdateConfig } from '#model/service.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { SeededRandom } from './seeded-random.ts';
import { OVERLAY } from './simulated-cluster.ts';
import { type ImageName, SOUND_IMAGES } from './simulated-engine.ts';

const MS = 1e6;
const GIB = 2 ** 30;

/** A secret that a service may use. */
export interface KnownSecret {
  readonly id: string;
  readonly name: string;
}

/** What a client may ask for, of any kind. */
export function newSpec(name: string, random: SeededRandom, secrets: readonly KnownSecret[]): ServiceSpec {
  const kind = random.below(12);
  if (kind === 0) return jobSpec(name, random, { MaxConcurrent: random.between(1, 3) });
  if (kind === 1) return jobSpec(name, random, undefined);
  const isSingle = kind === 2 || kind === 3;
  const image = random.pick(SOUND_IMAGES);
  // one that stores its data in a volume is a single writer while it has one replica
  const hasVolume = kind === 3;
  return {
    Name: name,
    ...(isSingle && !hasVolume ? { Labels: { 'drover.single-writer': 'true' } } : {}),
    Mode: kind === 4 ? { Global: {} } : { Replicated: { Replicas: isSingle ? 1 : random.between(0, 6) } },
    TaskTemplate: taskTemplate(random, { image, secrets, hasVolume }),
    ...(random.chance(60) ? { UpdateConfig: updateConfig(random, true) } : {}),
    ...(random.chance(30) ? { RollbackConfig: updateConfig(random, false) } : {}),
    ...(random.chance(40) ? { EndpointSpec: { Ports: ports(random) } } : {}),
  };
}

function jobSpec(
  name: string,
  random: SeededRandom,
  replicated: { MaxConcurrent: number } | undefined,
): ServiceSpec {
  const TotalCompletions = random.between(1, 5);
  return {
    Name: name,
    Mode:
      replicated === undefined ? { GlobalJob: {} } : { ReplicatedJob: { ...replicated, TotalCompletions } },
    TaskTemplate: taskTemplate(random, { image: 'finishing', secrets: [], hasVolume: false }),
  };
}

function ports(random: SeededRandom): NonNullable<NonNullable<ServiceSpec['EndpointSpec']>['Ports']> {
  const ingress = { TargetPort: 80, Protocol: 'tcp' as const };
  if (random.chance(25))
    return [{ ...ingress, PublishMode: 'host', PublishedPort: random.between(8000, 8002) }];
  if (random.chance(25)) return [{ ...ingress, PublishedPort: random.between(9000, 9004) }];
  return random.chance(30) ? [ingress, { ...ingress, PublishedPort: 30_000 }] : [ingress];
}

export function taskTemplate(
  random: SeededRandom,
  o: { image: ImageName; secrets: readonly KnownSecret[]; hasVolume: boolean },
): TaskSpec {
  const secret = o.secrets.length > 0 && random.chance(40) ? random.pick(o.secrets) : undefined;
  return {
    ContainerSpec: {
      Image: `${o.image}:${random.below(1000)}`,
      StopGracePeriod: 1000 * MS,
      ...(secret === undefined ? {} : { Secrets: [secretReference(secret)] }),
      ...(o.hasVolume ? { Mounts: [{ Type: 'volume', Source: 'data', Target: '/data' }] } : {}),
    },
    RestartPolicy: {
      Condition: o.image === 'finishing' ? 'on-failure' : 'any',
      Delay: random.between(0, 2000) * MS,
    },
    ...(random.chance(50) ? { Networks: [{ Target: random.chance(90) ? OVERLAY : 'host' }] } : {}),
    ...(random.chance(20)
      ? { Placement: { Constraints: [`node.labels.zone == ${random.pick(['a', 'b'])}`] } }
      : {}),
    ...(random.chance(20)
      ? { Resources: { Reservations: { MemoryBytes: random.pick([GIB / 4, GIB, 2 * GIB]) } } }
      : {}),
  };
}

function secretReference({ id, name }: KnownSecret): {
  SecretID: string;
  SecretName: string;
  File: object & { Name: string; UID: string; GID: string; Mode: number };
} {
  return { SecretID: id, SecretName: name, File: { Name: name, UID: '0', GID: '0', Mode: 0o400 } };
}

export function updateConfig(random: SeededRandom, mayRollBack: boolean): UpdateConfig {
  return {
    Parallelism: random.between(0, 3),
    Delay: random.between(0, 1000) * MS,
    Monitor: random.between(100, 3000) * MS,
    FailureAction: random.pick(
      mayRollBack ? (['pause', 'continue', 'rollback'] as const) : (['pause', 'continue'] as const),
    ),
    MaxFailureRatio: random.pick([0, 0.3]),
    Order: random.pick(['stop-first', 'start-first'] as const),
  };
}
