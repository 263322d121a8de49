import { imageKeys } from '#cluster/images/image-keys.ts';
import { kindOf } from '#model/errors.ts';
import type { PortConfig, ServiceRevision } from '#model/service.ts';
import type { TaskMount, TaskSpec } from '#model/task-spec.ts';
import { type AttributeReader, attributeReader, type Constraint, parseConstraints } from './constraint.ts';
import { type GenericDemand, genericDemands } from './generic-resources.ts';

/** One placement preference: what nodes are told apart by. */
export interface SpreadLevel {
  /** Such as `node.labels.zone`. */
  readonly key: string;
  readonly read: AttributeReader;
}

/** What the tasks of one revision need of a node, read once for all of them. */
export interface TaskRequirements {
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly generic: readonly GenericDemand[];
  readonly constraints: readonly Constraint[];
  readonly platforms: readonly { readonly Architecture?: string; readonly OS?: string }[];
  /** `8080/tcp`: published on the node itself, so one task a node has it. */
  readonly hostPorts: readonly string[];
  /** Of the service on one node; 0 is no limit. */
  readonly maxReplicas: number;
  /** What the tasks are to be spread over, the coarsest first. */
  readonly spread: readonly SpreadLevel[];
  /** Named volumes whose data is on the nodes themselves. */
  readonly volumes: readonly string[];
  /** True where a volume's name depends on the task, so that only where the task ran tells where its data is. */
  readonly hasTemplatedVolumes: boolean;
  /** What a node that has the image says of it, one of these. */
  readonly imageKeys: readonly string[];
  /** True where one of the tasks' networks is encrypted. */
  readonly encrypts: boolean;
  /** Equal for requirements that the same nodes meet by what they are (constraints, platforms, encryption); empty where all do. */
  readonly signature: string;
}

/** Of tasks whose revision is not known. */
export const NO_REQUIREMENTS: TaskRequirements = {
  nanoCpus: 0,
  memoryBytes: 0,
  generic: [],
  constraints: [],
  platforms: [],
  hostPorts: [],
  maxReplicas: 0,
  spread: [],
  volumes: [],
  hasTemplatedVolumes: false,
  imageKeys: [],
  encrypts: false,
  signature: '',
};

/** `isEncrypted` says it of a network's ID. */
export function requirementsOf(
  revision: Pick<ServiceRevision, 'template' | 'endpoint'>,
  isEncrypted: (networkId: string) => boolean,
): TaskRequirements {
  const { template, endpoint } = revision;
  const reservations = template.Resources?.Reservations ?? {};
  const placement = template.Placement ?? {};
  const platforms = placement.Platforms ?? [];
  const texts = placement.Constraints ?? [];
  const volumes = localVolumes(template);
  const encrypts = (template.Networks ?? []).some(({ Target }) => isEncrypted(Target));
  const bare = texts.length === 0 && platforms.length === 0 && !encrypts;
  return {
    nanoCpus: reservations.NanoCPUs ?? 0,
    memoryBytes: reservations.MemoryBytes ?? 0,
    generic: genericDemands(reservations.GenericResources ?? []),
    constraints: texts.map(constraintOf),
    platforms,
    hostPorts: (endpoint?.Ports ?? []).flatMap(hostPort),
    maxReplicas: placement.MaxReplicas ?? 0,
    spread: spreadOf(placement.Preferences ?? []),
    volumes: volumes.filter((name) => !name.includes('{{')),
    hasTemplatedVolumes: volumes.some((name) => name.includes('{{')),
    imageKeys: imageKeys(template.ContainerSpec.Image),
    encrypts,
    signature: bare ? '' : JSON.stringify([[...texts].sort(), platforms, encrypts]),
  };
}

/** Specs are checked when they are taken in; one that got into the store in spite of that is met by no node, and breaks nothing. */
function constraintOf(text: string): Constraint {
  try {
    const [constraint] = parseConstraints([text]);
    if (constraint !== undefined) return constraint;
  } catch (error) {
    if (kindOf(error) !== 'invalid') throw error;
  }
  return { text, key: text, operator: '==', value: '', holds: () => false };
}

function hostPort({ PublishMode, PublishedPort = 0, Protocol = 'tcp' }: PortConfig): string[] {
  return PublishMode === 'host' && PublishedPort !== 0 ? [`${PublishedPort}/${Protocol}`] : [];
}

function spreadOf(
  preferences: readonly { readonly Spread: { readonly SpreadDescriptor: string } }[],
): SpreadLevel[] {
  return preferences.flatMap(({ Spread }) => {
    const read = attributeReader(Spread.SpreadDescriptor);
    return read === undefined ? [] : [{ key: Spread.SpreadDescriptor, read }];
  });
}

function localVolumes({ ContainerSpec }: TaskSpec): string[] {
  const isLocal = ({ Type, Source = '', VolumeOptions }: TaskMount): boolean =>
    Type === 'volume' && Source !== '' && ['', 'local'].includes(VolumeOptions?.DriverConfig?.Name ?? '');
  return (ContainerSpec.Mounts ?? []).filter(isLocal).map(({ Source = '' }) => Source);
}
