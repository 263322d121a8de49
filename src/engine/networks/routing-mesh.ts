import type { NetworkPlan, PlannedEndpoint } from '#model/network-plan.ts';
import type { Balances, BalancingTable } from './balancing-table.ts';
import { servingTasks } from './serving-tasks.ts';

/**
 * The table of the host that leads published ports to tasks. What a node sends to another's task goes out behind its own address on
 * the ingress network, so that answers come back; what goes to a local task has its client's address.
 */
export function meshTable(name: string, ingressBridge: string): BalancingTable {
  const publish = 'fib daddr type local meta l4proto . th dport vmap @balanced';
  return {
    name,
    keyType: 'inet_proto . inet_service',
    chains: {
      prerouting: [`type nat hook prerouting priority dstnat; policy accept;\n${publish}`],
      output: [`type nat hook output priority -100; policy accept;\n${publish}`],
      postrouting: [
        `type nat hook postrouting priority srcnat; policy accept;\noifname ${JSON.stringify(ingressBridge)} ct status dnat masquerade`,
      ],
      // Translated packets do not come by: what does has no task.
      input: [
        'type filter hook input priority filter; policy accept;\nfib daddr type local meta l4proto tcp meta l4proto . th dport @keys reject with tcp reset',
        'fib daddr type local meta l4proto . th dport @keys reject with icmp port-unreachable',
      ],
    },
    guard: (key) => `meta l4proto ${key.split(' ')[0]}`,
  };
}

/**
 * Each published port with the tasks that it leads to: those of this node where it has any, at the address by which the host
 * reaches them; else those of other nodes at their address on the ingress network, unless the port is for local tasks only.
 */
export function meshPorts(
  plan: NetworkPlan,
  localAddress: (endpoint: PlannedEndpoint) => string | undefined,
): Balances {
  const tasks = servingTasks(plan.networks.find(({ id }) => id === plan.ingressNetworkId));
  const balances = new Map<string, string[]>();
  for (const { protocol, publishedPort, targetPort, serviceId, localOnly = false } of plan.ports) {
    const serving = tasks.get(serviceId) ?? [];
    const local = serving
      .filter(({ nodeId }) => nodeId === plan.nodeId)
      .map(localAddress)
      .filter((address) => address !== undefined);
    const remote = serving.filter(({ nodeId }) => nodeId !== plan.nodeId).map(({ address }) => address);
    const chosen = local.length > 0 || localOnly ? local : remote;
    balances.set(
      `${protocol} . ${publishedPort}`,
      chosen.map((address) => `${address} . ${targetPort}`),
    );
  }
  return balances;
}
