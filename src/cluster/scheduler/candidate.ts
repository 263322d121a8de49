import type { NodeLoad } from './node-load.ts';
import type { TaskRequirements } from './task-requirements.ts';

/** Where tasks go of several nodes that could take them: to the one that has the fewest, or the one that is fullest. */
export type PlacementStrategy = 'spread' | 'binpack';

/** From so many failures in the window on, a node is the last choice, as in Swarm. */
const MAX_FAILURES = 5;

/** A node that may take a task, and how well it suits. */
export interface Candidate {
  readonly node: NodeLoad;
  /** Failures of the revision there; 0 for fewer than {@link MAX_FAILURES}. */
  readonly failures: number;
  /** Wanted tasks of the service there. */
  serviceTasks: number;
  /** Volumes of the task's that are not there. */
  readonly missingVolumes: number;
  /** Tasks on the node, for `spread`; for `binpack` how much of it is free, from 0 to 1. */
  load: number;
  readonly hasImage: boolean;
}

export interface CandidateContext {
  readonly need: TaskRequirements;
  readonly strategy: PlacementStrategy;
  readonly failures: ReadonlyMap<string, number> | undefined;
}

export function candidateOf(node: NodeLoad, serviceTasks: number, context: CandidateContext): Candidate {
  const { need, strategy } = context;
  const failures = context.failures?.get(node.id) ?? 0;
  return {
    node,
    failures: failures < MAX_FAILURES ? 0 : failures,
    serviceTasks,
    missingVolumes: missingVolumes(node, need),
    load: loadOf(node, strategy),
    hasImage: need.imageKeys.some((key) => node.images.has(key)),
  };
}

/** Brings up to date what a task that was placed on the node changed. */
export function refresh(candidate: Candidate, placed: number, strategy: PlacementStrategy): void {
  candidate.serviceTasks += placed;
  candidate.load = loadOf(candidate.node, strategy);
}

/** Negative where `a` suits better. Never 0 for two nodes: at last the ID decides, so that the same cluster gives the same places. */
export function compareCandidates(a: Candidate, b: Candidate): number {
  // written out: it is what placing spends its time on
  return (
    a.failures - b.failures ||
    a.serviceTasks - b.serviceTasks ||
    a.missingVolumes - b.missingVolumes ||
    a.load - b.load ||
    Number(b.hasImage) - Number(a.hasImage) ||
    (a.node.id < b.node.id ? -1 : 1)
  );
}

function loadOf(node: NodeLoad, strategy: PlacementStrategy): number {
  return strategy === 'spread' ? node.tasks : 1 - node.fullness;
}

function missingVolumes(node: NodeLoad, { volumes }: TaskRequirements): number {
  let missing = 0;
  for (const name of volumes) if (!node.volumes.has(name)) missing += 1;
  return missing;
}
