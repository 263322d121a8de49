import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { notFound } from '#model/errors.ts';
import type { TaskRecord } from '#model/task.ts';
import { countText } from './amounts.ts';
import { type Candidate, candidateOf, type PlacementStrategy } from './candidate.ts';
import { candidatesWithData } from './data-nodes.ts';
import { FILTERS, type Refusal, refusalSummary } from './filters.ts';
import type { NodeLoad } from './node-load.ts';
import { compareScored, decisive, type NodeScore, type Scored, scored } from './node-score.ts';
import { footprintOf, holdsShare, type NodeTable, revisionIdOf } from './node-table.ts';
import { NO_REQUIREMENTS, type TaskRequirements } from './task-requirements.ts';

const MOST_REMEDIES = 5;

/** One node as a place for the task: refused, or judged. */
export interface NodeExplanation {
  readonly nodeId: string;
  /** Its host name. */
  readonly name: string;
  /** Every filter that the node does not pass, in the order in which they are asked. */
  readonly refusals: readonly Refusal[];
  /** There where nothing refuses it. */
  readonly score: NodeScore | undefined;
}

/** Why a task is where it is, or nowhere, by the state of now: plain data for a program to show. */
export interface PlacementExplanation {
  readonly taskId: string;
  readonly serviceId: string;
  /** Where it is; undefined when it is not placed. */
  readonly nodeId: string | undefined;
  /** One sentence: Swarm's `no suitable node (…)`, or what decided. */
  readonly summary: string;
  /** Nodes that could take it, the best first; then those that cannot, those with the fewest refusals first. */
  readonly nodes: readonly NodeExplanation[];
  /** What would get it placed, each enough by itself; empty when it is placed or can be. At most five. */
  readonly remedies: readonly string[];
}

/**
 * Explains the place of a task. One that is placed is judged as if it were to be placed now, where it is not counted itself. Costs
 * O(nodes). Throws `not-found` for a task that the view has not. The table has to be what the view is.
 */
export function explainPlacement(
  view: ClusterView,
  table: NodeTable,
  taskId: string,
  strategy: PlacementStrategy,
): PlacementExplanation {
  const task = view.get('task', taskId);
  if (task === undefined) throw notFound(`task ${taskId} not found`);
  const need = table.requirements(revisionIdOf(task)) ?? NO_REQUIREMENTS;
  const own = holdsShare(task) ? table.node(task.NodeID) : undefined;
  const footprint = footprintOf(task, need);
  if (own !== undefined) table.account(own, footprint, -1);
  try {
    return explanationOf(view, table, task, need, strategy);
  } finally {
    if (own !== undefined) table.account(own, footprint, 1);
  }
}

function explanationOf(
  view: ClusterView,
  table: NodeTable,
  task: TaskRecord,
  need: TaskRequirements,
  strategy: PlacementStrategy,
): PlacementExplanation {
  const tasks = table.tasksOf(task.ServiceID);
  const failures = table.failures.failuresOf(revisionIdOf(task));
  const candidates: Candidate[] = [];
  const refused: { node: NodeLoad; refusals: Refusal[] }[] = [];
  const counts = FILTERS.map(() => 0);
  // a task that names its node goes nowhere else
  const isPinned = task.Slot === 0 && task.NodeID !== '';
  for (const node of table.nodes) {
    if (isPinned && node.id !== task.NodeID) continue;
    const refusals = refusalsOf(node, need, tasks.get(node) ?? 0);
    const [first] = refusals;
    if (first === undefined) {
      candidates.push(candidateOf(node, tasks.get(node) ?? 0, { need, strategy, failures }));
      continue;
    }
    const index = FILTERS.findIndex(({ name }) => name === first.filter);
    counts[index] = (counts[index] ?? 0) + 1;
    refused.push({ node, refusals });
  }
  refused.sort((a, b) => a.refusals.length - b.refusals.length || (a.node.id < b.node.id ? -1 : 1));
  const withData = new Set(candidatesWithData(view, task, need, candidates));
  const ranked = scored(candidates, need, tasks, withData).sort(compareScored);
  const placed = holdsShare(task) ? task.NodeID : undefined;
  return {
    taskId: task.ID,
    serviceId: task.ServiceID,
    nodeId: placed,
    summary:
      placed === undefined ? waitingSummary(ranked, counts) : placedSummary(placed, ranked, table, strategy),
    nodes: [
      ...ranked.map(({ candidate, score }) => described(candidate.node, [], score)),
      ...refused.map(({ node, refusals }) => described(node, refusals, undefined)),
    ],
    remedies: placed === undefined && ranked.length === 0 ? remediesOf(refused) : [],
  };
}

function refusalsOf(node: NodeLoad, need: TaskRequirements, serviceTasks: number): Refusal[] {
  return FILTERS.filter((filter) => filter.concerns(need) && !filter.passes(node, need, serviceTasks)).map(
    (filter) => ({ filter: filter.name, ...filter.refusal(node, need, serviceTasks) }),
  );
}

function described(
  node: NodeLoad,
  refusals: readonly Refusal[],
  score: NodeScore | undefined,
): NodeExplanation {
  return { nodeId: node.id, name: node.name, refusals, score };
}

function waitingSummary(ranked: readonly Scored[], counts: readonly number[]): string {
  const [best] = ranked;
  if (best === undefined) return refusalSummary(counts);
  return `${countText(ranked.length, 'node')} can take it, ${best.candidate.node.name} before others`;
}

function placedSummary(
  nodeId: string,
  ranked: readonly Scored[],
  table: NodeTable,
  strategy: PlacementStrategy,
): string {
  const here = ranked.find(({ candidate }) => candidate.node.id === nodeId);
  const other = ranked.find(({ candidate }) => candidate.node.id !== nodeId);
  const name = table.node(nodeId)?.name ?? nodeId;
  if (here === undefined) return `it is on ${name}, which would not be given it now`;
  if (other === undefined) return `it is on ${name}, the only node that can have it`;
  if (compareScored(here, other) > 0)
    return `it is on ${name}; now ${other.candidate.node.name} would be preferred: ${decisive(other, here, strategy)}`;
  return `it is on ${name} before ${other.candidate.node.name}: ${decisive(here, other, strategy)}`;
}

/** Of the nodes that the least has to be changed for. */
function remediesOf(refused: readonly { readonly refusals: readonly Refusal[] }[]): string[] {
  const least = refused[0]?.refusals.length ?? 0;
  const remedies = new Set<string>();
  for (const { refusals } of refused) {
    if (refusals.length > least || remedies.size === MOST_REMEDIES) break;
    remedies.add(refusals.map(({ remedy }) => remedy).join(' and '));
  }
  return [...remedies];
}
