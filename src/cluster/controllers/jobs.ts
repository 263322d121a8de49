import type { PlacePlan } from './place-plan.ts';
import { isOccupied } from './service-places.ts';
import { newestOf, type Place } from './task-places.ts';

/**
 * A job that is run so many times: as many places as completions are wanted, so many of them at once as is allowed. A place whose task
 * completed is done; one whose task failed is tried again as the restart policy says.
 */
export function decideReplicatedJob(plan: PlacePlan): void {
  const { Spec, JobStatus } = plan.service;
  const iteration = JobStatus?.JobIteration ?? 0;
  const wanted = Spec.Mode?.ReplicatedJob?.TotalCompletions ?? Spec.Mode?.ReplicatedJob?.MaxConcurrent ?? 1;
  const atOnce = Spec.Mode?.ReplicatedJob?.MaxConcurrent || wanted;
  const places = ofIteration(plan, iteration);
  const done = places.filter(isCompleted).length;
  const active = places.filter((place) => place.wanted.length > 0 && !isCompleted(place)).length;
  for (const place of places) heal(plan, place);
  const taken = new Set(plan.places.map(({ slot }) => slot));
  const given = places.filter(
    (place) => place.wanted.length > 0 || isCompleted(place) || hasGivenUp(place),
  ).length;
  let slot = 1;
  for (
    let more = Math.min(atOnce - active, wanted - given);
    more > 0 && done < wanted && !plan.full;
    more--
  ) {
    while (taken.has(slot)) slot++;
    taken.add(slot);
    plan.fill({ slot, nodeId: '' }, iteration);
  }
}

/** A job that is run once on every node that it may be on. */
export function decideGlobalJob(plan: PlacePlan): void {
  const iteration = plan.service.JobStatus?.JobIteration ?? 0;
  const places = ofIteration(plan, iteration);
  const there = new Set(plan.places.map(({ nodeId }) => nodeId));
  for (const place of places) {
    const node = plan.view.get('node', place.nodeId);
    const isLeaving = node === undefined || node.Spec.Availability === 'drain';
    if (node === undefined || (isLeaving && !isCompleted(place))) plan.remove(place);
    // what was on a node that is lost is there again when the node is
    else if (node.Status.State !== 'down') heal(plan, place);
  }
  for (const node of plan.view.all('node')) {
    if (there.has(node.ID) || node.Status.State !== 'ready' || node.Spec.Availability !== 'active') continue;
    if (!plan.rules.fits(node, plan.template) || plan.full) continue;
    plan.fill({ slot: 0, nodeId: node.ID }, iteration);
  }
}

/** The places of this run; those of earlier ones are given up, and free their slots when they are gone. */
function ofIteration(plan: PlacePlan, iteration: number): Place[] {
  const places = plan.places.filter(isOccupied);
  for (const place of places) if (newestOf(place)?.JobIteration !== iteration) plan.remove(place);
  return places.filter((place) => newestOf(place)?.JobIteration === iteration);
}

function heal(plan: PlacePlan, place: Place): void {
  if (!isCompleted(place)) plan.heal(place);
}

function isCompleted(place: Place): boolean {
  return place.tasks.some(({ Status }) => Status.State === 'complete');
}

/** Its task failed, and the policy allows no other. */
function hasGivenUp(place: Place): boolean {
  return place.wanted.length === 0 && !isCompleted(place);
}
