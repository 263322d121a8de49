import type { PlannedEndpoint, PlannedNetwork } from '#model/network-plan.ts';

/** The tasks on a network that serve, in the plan's order, by their service's ID. Costs what there are tasks. */
export function servingTasks(network: PlannedNetwork | undefined): ReadonlyMap<string, PlannedEndpoint[]> {
  return Map.groupBy(
    (network?.endpoints ?? []).filter(({ serving }) => serving),
    ({ serviceId }) => serviceId,
  );
}
