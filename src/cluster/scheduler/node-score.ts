import { countText } from './amounts.ts';
import { type Candidate, compareCandidates, type PlacementStrategy } from './candidate.ts';
import type { NodeLoad } from './node-load.ts';
import type { SpreadLevel, TaskRequirements } from './task-requirements.ts';

/** How well a node suits a task, by what it is judged by; less is better everywhere but in `hasData` and `hasImage`. */
export interface NodeScore {
  /** False where a single writer wrote to volumes that are on other nodes. */
  readonly hasData: boolean;
  /** For each placement preference the node's value, and the service's tasks on all nodes that share it and those before it. */
  readonly preferences: readonly { readonly key: string; readonly value: string; readonly tasks: number }[];
  /** Failures of the service's revision there; 0 for fewer than count. */
  readonly failures: number;
  readonly serviceTasks: number;
  readonly missingVolumes: number;
  /** Tasks there for `spread`, the part that is free (0 to 1) for `binpack`. */
  readonly load: number;
  readonly hasImage: boolean;
}

/** A node that nothing refuses, with its score. */
export interface Scored {
  readonly candidate: Candidate;
  readonly score: NodeScore;
}

/** Scores for one task more; `withData` are the candidates where its data is. */
export function scored(
  candidates: readonly Candidate[],
  need: TaskRequirements,
  serviceTasks: ReadonlyMap<NodeLoad, number>,
  withData: ReadonlySet<Candidate>,
): Scored[] {
  const totals = new Map<string, number>();
  for (const [node, tasks] of serviceTasks) {
    for (const { path } of pathsOf(node, need.spread)) totals.set(path, (totals.get(path) ?? 0) + tasks);
  }
  return candidates.map((candidate) => {
    const { failures, missingVolumes, load, hasImage } = candidate;
    const preferences = pathsOf(candidate.node, need.spread).map(({ key, value, path }) => ({
      key,
      value,
      tasks: totals.get(path) ?? 0,
    }));
    const own = { failures, serviceTasks: candidate.serviceTasks, missingVolumes, load, hasImage };
    return { candidate, score: { hasData: withData.has(candidate), preferences, ...own } };
  });
}

/** Negative where `a` would be given the next task before `b`. */
export function compareScored(a: Scored, b: Scored): number {
  const byData = Number(b.score.hasData) - Number(a.score.hasData);
  if (byData !== 0) return byData;
  for (const [level, mine] of a.score.preferences.entries()) {
    const theirs = b.score.preferences[level];
    if (theirs === undefined || mine.value === theirs.value) continue;
    return mine.tasks - theirs.tasks || (mine.value < theirs.value ? -1 : 1);
  }
  return compareCandidates(a.candidate, b.candidate);
}

/** What puts the first before the second, in words with the figures. */
export function decisive({ score: a }: Scored, { score: b }: Scored, strategy: PlacementStrategy): string {
  if (a.hasData !== b.hasData) return 'its data is there';
  for (const [level, mine] of a.preferences.entries()) {
    const theirs = b.preferences[level];
    if (theirs === undefined || mine.value === theirs.value) continue;
    return `${mine.key} ${labelText(mine)}, ${labelText(theirs)}`;
  }
  if (a.failures !== b.failures)
    return `it failed there ${timesText(a.failures)}, not ${timesText(b.failures)}`;
  if (a.serviceTasks !== b.serviceTasks)
    return `${countText(a.serviceTasks, 'other task')} of the service there, not ${b.serviceTasks}`;
  if (a.missingVolumes !== b.missingVolumes) return 'more of its volumes are there';
  if (a.load !== b.load && strategy === 'spread')
    return `${countText(a.load, 'other task')} there, not ${b.load}`;
  if (a.load !== b.load)
    return `${percentText(1 - a.load)} of it is reserved, not ${percentText(1 - b.load)}`;
  if (a.hasImage !== b.hasImage) return 'the image is there';
  return 'they are equal, and its ID comes first';
}

function pathsOf(
  { record }: NodeLoad,
  spread: readonly SpreadLevel[],
): { key: string; value: string; path: string }[] {
  const values: string[] = [];
  return spread.map(({ key, read }) => {
    const value = record === undefined ? '' : read(record);
    values.push(value);
    return { key, value, path: JSON.stringify(values) };
  });
}

function labelText({ value, tasks }: { value: string; tasks: number }): string {
  return `${value === '' ? '(none)' : value} has ${countText(tasks, 'other task')} of the service`;
}

function timesText(count: number): string {
  return countText(count, 'time');
}

function percentText(part: number): string {
  return `${Math.round(part * 100)} %`;
}
