import type { PlacePlan } from './place-plan.ts';
import { replicasOf } from './service-defaults.ts';
import { isRunning, newestOf, type Place } from './task-places.ts';

/** A replicated service: as many places as it wants replicas, each with its task. */
export function replicatedPlaces(plan: PlacePlan): void {
  const kept = plan.places.filter(isOccupied);
  const surplus = kept.length - replicasOf(plan.service.Spec);
  const leaving = new Set(surplus > 0 ? leastMissed(kept, surplus) : []);
  for (const place of leaving) plan.remove(place);
  for (const place of plan.places) if (isOccupied(place) && !leaving.has(place)) plan.heal(place);
  const taken = new Set(plan.places.map(({ slot }) => slot));
  let slot = 1;
  for (let missing = -surplus; missing > 0 && !plan.full; missing--) {
    while (taken.has(slot)) slot++;
    taken.add(slot);
    plan.fill({ slot, nodeId: '' });
  }
}

/** A global service: a place on every node that it may be on. */
export function globalPlaces(plan: PlacePlan): void {
  const byNode = new Map(plan.places.filter(isOccupied).map((place) => [place.nodeId, place]));
  const leaving = new Set(plan.places.filter((place) => !isOccupied(place)).map(({ nodeId }) => nodeId));
  for (const node of plan.view.all('node')) {
    const place = byNode.get(node.ID);
    byNode.delete(node.ID);
    if (node.Spec.Availability === 'drain' || !plan.rules.fits(node, plan.template)) {
      if (place !== undefined) plan.remove(place);
      continue;
    }
    // what was on a node that is lost is there again when the node is
    if (node.Status.State === 'down') continue;
    if (place !== undefined) plan.heal(place);
    else if (node.Spec.Availability === 'active' && !leaving.has(node.ID) && !plan.full)
      plan.fill({ slot: 0, nodeId: node.ID });
  }
  // of nodes that are not there any more
  for (const place of byNode.values()) plan.remove(place);
}

/** A place that is not about to be given up. Its task may have ended for good: then it stays, for nobody asked for another. */
export function isOccupied(place: Place): boolean {
  return newestOf(place)?.DesiredState !== 'remove';
}

/** Which places to give up: those where nothing runs, then those on nodes that have most of the service, then the last ones. */
export function leastMissed(places: readonly Place[], count: number): Place[] {
  const onNode = new Map<string, number>();
  const nodeOf = (place: Place): string => newestOf(place)?.NodeID ?? '';
  for (const place of places) onNode.set(nodeOf(place), (onNode.get(nodeOf(place)) ?? 0) + 1);
  const left = [...places].sort((a, b) => Number(runs(a)) - Number(runs(b)) || b.slot - a.slot);
  const chosen: Place[] = [];
  const idle = left.filter((place) => !runs(place));
  chosen.push(...idle.slice(0, count));
  for (const place of chosen) onNode.set(nodeOf(place), (onNode.get(nodeOf(place)) ?? 0) - 1);
  const running = left.filter(runs);
  while (chosen.length < count) {
    let worst: Place | undefined;
    for (const place of running) {
      if (worst === undefined || (onNode.get(nodeOf(place)) ?? 0) > (onNode.get(nodeOf(worst)) ?? 0))
        worst = place;
    }
    if (worst === undefined) break;
    running.splice(running.indexOf(worst), 1);
    onNode.set(nodeOf(worst), (onNode.get(nodeOf(worst)) ?? 0) - 1);
    chosen.push(worst);
  }
  return chosen;
}

function runs(place: Place): boolean {
  return place.wanted.some(isRunning);
}
