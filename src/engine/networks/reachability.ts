import type { NetworkPlan, PlannedEndpoint, PlannedNetwork, PlannedService } from '#model/network-plan.ts';

/** What is known besides the plan. */
export interface ReachabilityFacts {
  /** IDs of nodes that the managers call down. */
  readonly downNodes: ReadonlySet<string>;
  /** What a check of this node found. */
  readonly differences: readonly string[];
  /** Why this node cannot encrypt; undefined where it can. */
  readonly encryptionProblem?: string | undefined;
}

/** What a reference is on one network. */
interface Place {
  readonly network: PlannedNetwork;
  /** There where the reference is a service. */
  readonly service: PlannedService | undefined;
  readonly endpoints: readonly PlannedEndpoint[];
}

/**
 * Why `from` cannot reach `to`, as far as this node knows, a sentence each, the likeliest first; empty where nothing is known that keeps
 * it from it. Both are a task's ID, one of its names, an address, or a service's name or alias.
 */
export function whyUnreachable(
  plan: NetworkPlan,
  facts: ReachabilityFacts,
  from: string,
  to: string,
): string[] {
  const [sources, targets] = [placesOf(plan, from), placesOf(plan, to)];
  for (const [reference, places] of [
    [from, sources],
    [to, targets],
  ] as const) {
    if (places.length > 0) continue;
    return [
      `${reference} is no task or service on a network of this node: ask on the node that ${from} runs on, or look at its networks (docker service inspect)`,
    ];
  }
  const shared = targets.filter(({ network }) => sources.some((place) => place.network.id === network.id));
  if (shared.length === 0) {
    return [
      `${from} is on ${namesOf(sources)} and ${to} on ${namesOf(targets)}: they share no network (docker service update --network-add)`,
    ];
  }
  const reasons = shared.map((target) => {
    const source = sources.find(({ network }) => network.id === target.network.id);
    return reasonsOn(plan, facts, source?.endpoints ?? [], target, from, to);
  });
  // One network without a reason is a way.
  return reasons.some((found) => found.length === 0) ? [] : [...new Set(reasons.flat())];
}

function reasonsOn(
  plan: NetworkPlan,
  facts: ReachabilityFacts,
  sources: readonly PlannedEndpoint[],
  { network, service, endpoints }: Place,
  from: string,
  to: string,
): string[] {
  const on = `network ${network.name}`;
  if (network.encrypted && facts.encryptionProblem !== undefined)
    return [`${on} is encrypted, which this node cannot do: ${facts.encryptionProblem}`];
  if (endpoints.length === 0) return [`service ${to} has no task on ${on}`];
  const serving = endpoints.filter((endpoint) => endpoint.serving);
  const reasons: string[] = [];
  if (serving.length === 0)
    reasons.push(
      service === undefined
        ? `${to} does not serve on ${on}: it starts, is unhealthy or is about to be ended, and no name leads to it`
        : `none of the ${endpoints.length} tasks of service ${to} serves on ${on}: they start, are unhealthy or are about to be ended, and connections are refused`,
    );
  const blocked = (serving.length === 0 ? endpoints : serving).map((endpoint) =>
    pathReasons(plan, facts, network, endpoint),
  );
  // A service with one task that cannot be reached fails some of the time.
  reasons.push(...blocked.flat());
  if (sources.length > 0 && sources.every(({ nodeId }) => facts.downNodes.has(nodeId)))
    reasons.push(`the node that ${from} runs on is down`);
  reasons.push(...facts.differences.filter((each) => concerns(each, network, service, endpoints)));
  return [...new Set(reasons)];
}

/** What lies between this node and a task. */
function pathReasons(
  plan: NetworkPlan,
  facts: ReachabilityFacts,
  network: PlannedNetwork,
  endpoint: PlannedEndpoint,
): string[] {
  const { nodeId, address } = endpoint;
  const name = endpoint.aliases[0] ?? endpoint.taskId;
  if (facts.downNodes.has(nodeId)) return [`node ${nodeId}, where ${name} (${address}) runs, is down`];
  if (nodeId === plan.nodeId || network.peers.some((peer) => peer.nodeId === nodeId)) return [];
  return [
    `node ${nodeId}, where ${name} (${address}) runs, is no peer of network ${network.name} in this node's plan: frames to it go nowhere`,
  ];
}

function concerns(
  difference: string,
  network: PlannedNetwork,
  service: PlannedService | undefined,
  endpoints: readonly PlannedEndpoint[],
): boolean {
  if (difference.startsWith(`network ${network.name}:`)) return true;
  if (network.encrypted && difference.includes('encrypted networks')) return true;
  const addresses = [service?.virtualIp ?? '', ...endpoints.map(({ address }) => address)];
  return addresses.some((address) => address !== '' && difference.split(/[ ,:]+/).includes(address));
}

function placesOf(plan: NetworkPlan, reference: string): Place[] {
  const wanted = reference.toLowerCase();
  const is = (name: string): boolean => name.toLowerCase() === wanted;
  return plan.networks.flatMap((network): Place[] => {
    const service = network.services.find(
      ({ name, aliases, serviceId, virtualIp }) => [name, ...aliases, serviceId].some(is) || is(virtualIp),
    );
    const endpoints = network.endpoints.filter(({ taskId, serviceId, address, aliases }) =>
      service === undefined ? [taskId, address, ...aliases].some(is) : serviceId === service.serviceId,
    );
    return service === undefined && endpoints.length === 0 ? [] : [{ network, service, endpoints }];
  });
}

function namesOf(places: readonly Place[]): string {
  return [...new Set(places.map(({ network }) => network.name))].join(', ');
}
