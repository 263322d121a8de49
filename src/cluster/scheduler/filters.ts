import type { NodeRecord } from '#model/node.ts';
import { bytesText, countText, cpusText } from './amounts.ts';
import { type Constraint, nodeLabelOf } from './constraint.ts';
import type { NodeLoad } from './node-load.ts';
import { runsOn } from './platform.ts';
import type { TaskRequirements } from './task-requirements.ts';

export type FilterName =
  | 'ready'
  | 'platform'
  | 'constraints'
  | 'encryption'
  | 'resources'
  | 'generic-resources'
  | 'host-ports'
  | 'max-replicas';

/** Why one node is refused, and what would change that. */
export interface Refusal {
  readonly filter: FilterName;
  /** A clause with the figures: `1.5 CPUs are reserved, 0.5 CPUs are free`. */
  readonly reason: string;
  /** What a person can do about it: `free 512 MiB on n3`. */
  readonly remedy: string;
}

/** What decides whether a node may take a task at all. */
export interface Filter {
  readonly name: FilterName;
  /** True where the answer depends on what the node is, and not on what it has to do. */
  readonly isStatic: boolean;
  /** False for tasks that it never refuses a node to. */
  concerns(need: TaskRequirements): boolean;
  /** `serviceTasks`: wanted tasks of the service that the node has already. */
  passes(node: NodeLoad, need: TaskRequirements, serviceTasks: number): boolean;
  /** For a node that does not pass. */
  refusal(node: NodeLoad, need: TaskRequirements, serviceTasks: number): Omit<Refusal, 'filter'>;
  /** What Swarm says of so many nodes. */
  summary(nodes: number): string;
}

const ready: Filter = {
  name: 'ready',
  isStatic: false,
  concerns: () => true,
  passes: (node) => node.available,
  refusal: (node) => {
    const availability = node.record?.Spec.Availability ?? 'active';
    const state = node.record?.Status.State ?? 'unknown';
    if (state !== 'ready') return { reason: `the node is ${state}`, remedy: `bring node ${node.name} back` };
    const reason = `the node is ${availability === 'pause' ? 'paused' : 'drained'}`;
    return { reason, remedy: `activate node ${node.name}` };
  },
  summary: (nodes) => `${countText(nodes, 'node')} not available for new tasks`,
};

const platform: Filter = {
  name: 'platform',
  isStatic: true,
  concerns: ({ platforms }) => platforms.length > 0,
  passes: ({ record }, need) => record !== undefined && meetsPlatforms(record, need),
  refusal: ({ record }, { platforms }) => {
    const own = platformText(record?.Description?.Platform ?? {});
    const asked = platforms.map(platformText).join(', ');
    return { reason: `the image is for ${asked}, the node is ${own}`, remedy: `use an image for ${own}` };
  },
  summary: (nodes) => `unsupported platform on ${countText(nodes, 'node')}`,
};

const constraints: Filter = {
  name: 'constraints',
  isStatic: true,
  concerns: ({ constraints }) => constraints.length > 0,
  passes: ({ record }, need) => record !== undefined && meetsConstraints(record, need),
  refusal: (node, { constraints }) => {
    const { record } = node;
    const unmet = constraints.filter((constraint) => record === undefined || !constraint.holds(record));
    return {
      reason: unmet.map(({ text }) => `${text} does not hold`).join(', '),
      remedy: unmet.map((constraint) => constraintRemedy(node, constraint)).join(' and '),
    };
  },
  summary: (nodes) => `scheduling constraints not satisfied on ${countText(nodes, 'node')}`,
};

const encryption: Filter = {
  name: 'encryption',
  isStatic: true,
  concerns: ({ encrypts }) => encrypts,
  passes: ({ record }) => encryptionProblem(record) === undefined,
  refusal: ({ record, name }) => ({
    reason: `a network of the task is encrypted, which the node cannot do: ${encryptionProblem(record)}`,
    remedy: `give node ${name} a kernel with IPsec (esp4, xfrm_user, AES-GCM), or use a network without --opt encrypted`,
  }),
  summary: (nodes) => `encrypted networks not supported on ${countText(nodes, 'node')}`,
};

const resources: Filter = {
  name: 'resources',
  isStatic: false,
  concerns: ({ nanoCpus, memoryBytes }) => nanoCpus > 0 || memoryBytes > 0,
  passes: (node, { nanoCpus, memoryBytes }) =>
    (nanoCpus === 0 || nanoCpus <= node.nanoCpus - node.reservedNanoCpus) &&
    (memoryBytes === 0 || memoryBytes <= node.memoryBytes - node.reservedMemoryBytes),
  refusal: (node, need) => {
    const short = [
      ...shortage(node.name, cpusText, need.nanoCpus, node.nanoCpus, node.reservedNanoCpus),
      ...shortage(node.name, bytesText, need.memoryBytes, node.memoryBytes, node.reservedMemoryBytes),
    ];
    return {
      reason: short.map(({ reason }) => reason).join(', '),
      remedy: short.map(({ remedy }) => remedy).join(' and '),
    };
  },
  summary: (nodes) => `insufficient resources on ${countText(nodes, 'node')}`,
};

const genericResources: Filter = {
  name: 'generic-resources',
  isStatic: false,
  concerns: ({ generic }) => generic.length > 0,
  passes: (node, { generic }) => node.generic.offer(generic) !== undefined,
  refusal: (node, { generic }) => {
    const unmet = generic.filter((demand) => node.generic.offer([demand]) === undefined);
    const parts = (unmet.length > 0 ? unmet : generic).map(({ kind, amount, value }) => ({
      asked: value === undefined ? `${amount} ${kind}` : `${kind} ${value}`,
      free: `${node.generic.free(kind)} of ${node.generic.capacity(kind)} ${kind} are free`,
    }));
    return {
      reason: parts.map(({ asked, free }) => `${asked} asked for, ${free}`).join(', '),
      remedy: `free ${parts.map(({ asked }) => asked).join(' and ')} on ${node.name}`,
    };
  },
  summary: (nodes) => `insufficient resources on ${countText(nodes, 'node')}`,
};

const hostPorts: Filter = {
  name: 'host-ports',
  isStatic: false,
  concerns: ({ hostPorts }) => hostPorts.length > 0,
  passes: (node, { hostPorts }) => !hostPorts.some((port) => node.hostPorts.has(port)),
  refusal: (node, { hostPorts }) => {
    const used = hostPorts.filter((port) => node.hostPorts.has(port)).join(', ');
    return { reason: `host-mode port ${used} is in use`, remedy: `free port ${used} on ${node.name}` };
  },
  summary: (nodes) => `host-mode port already in use on ${countText(nodes, 'node')}`,
};

const maxReplicas: Filter = {
  name: 'max-replicas',
  isStatic: false,
  concerns: ({ maxReplicas }) => maxReplicas > 0,
  passes: (_, { maxReplicas }, serviceTasks) => serviceTasks < maxReplicas,
  refusal: (_, { maxReplicas }, serviceTasks) => ({
    reason: `the node has ${serviceTasks} of at most ${countText(maxReplicas, 'task')} of the service`,
    remedy: `allow more than ${countText(maxReplicas, 'replica')} a node`,
  }),
  summary: () => 'max replicas per node limit exceed',
};

/**
 * In the order in which a node is asked: it is refused by the first that it does not pass. What a node is comes before what it has
 * to do, so that nobody is told of memory on a node that could never do.
 */
export const FILTERS: readonly Filter[] = [
  ready,
  platform,
  constraints,
  encryption,
  resources,
  genericResources,
  hostPorts,
  maxReplicas,
];

/** `no suitable node (insufficient resources on 3 nodes; …)`, from how many nodes each of {@link FILTERS} refused; most first. */
export function refusalSummary(counts: readonly number[]): string {
  const bySentence = new Map<string, { filter: Filter; count: number }>();
  FILTERS.forEach((filter, index) => {
    const count = counts[index] ?? 0;
    if (count === 0) return;
    // two filters say the same of resources
    const key = filter.summary(0);
    bySentence.set(key, { filter, count: count + (bySentence.get(key)?.count ?? 0) });
  });
  const parts = [...bySentence.values()]
    .sort((a, b) => b.count - a.count)
    .map(({ filter, count }) => filter.summary(count));
  return parts.length === 0 ? 'no suitable node' : `no suitable node (${parts.join('; ')})`;
}

/** True where the node's platform is one that the image is for. */
export function meetsPlatforms(node: NodeRecord, { platforms }: TaskRequirements): boolean {
  const own = node.Description?.Platform;
  return platforms.length === 0 || (own !== undefined && platforms.some((asked) => runsOn(asked, own)));
}

export function meetsConstraints(node: NodeRecord, { constraints }: TaskRequirements): boolean {
  return constraints.every((constraint) => constraint.holds(node));
}

/** Why a node cannot be on an encrypted network; undefined where it can. */
export function encryptionProblem(record: NodeRecord | undefined): string | undefined {
  const said = record?.Description?.encryption;
  return said === undefined ? 'it does not say that it can' : said.problem;
}

function shortage(
  node: string,
  text: (amount: number) => string,
  asked: number,
  capacity: number,
  reserved: number,
): { reason: string; remedy: string }[] {
  const free = capacity - reserved;
  if (asked === 0 || asked <= free) return [];
  const reason = `${text(asked)} asked for, ${text(Math.max(0, free))} of ${text(capacity)} free`;
  const remedy =
    asked > capacity
      ? `reserve at most the ${text(capacity)} that ${node} has`
      : `free ${text(asked - free)} on ${node}`;
  return [{ reason, remedy }];
}

function constraintRemedy({ name }: NodeLoad, { key, operator, value, text }: Constraint): string {
  const label = nodeLabelOf(key);
  if (label !== undefined)
    return operator === '=='
      ? `label node ${name} ${label}=${value}`
      : `take label ${label} from node ${name}`;
  if (key.toLowerCase() === 'node.role') {
    const wantsManager = (value.toLowerCase() === 'manager') === (operator === '==');
    return `${wantsManager ? 'promote' : 'demote'} node ${name}`;
  }
  return `drop the constraint ${text}`;
}

function platformText({ OS = '', Architecture = '' }: { OS?: string; Architecture?: string }): string {
  return `${OS || 'any system'}/${Architecture || 'any architecture'}`;
}
