import type { NetworkPlan } from '#model/network-plan.ts';
import type { Balances, BalancingTable } from './balancing-table.ts';
import { servingTasks } from './serving-tasks.ts';

/**
 * The table in a container's own network namespace that leads the virtual IPs of its networks to tasks. A virtual IP that is still
 * one after translation has no task that serves: the connection is refused at once.
 */
export const VIRTUAL_IPS: BalancingTable = {
  name: 'drover_services',
  keyType: 'ipv4_addr',
  chains: {
    output: ['type nat hook output priority -100; policy accept;\nip daddr vmap @balanced'],
    refuse: [
      'type filter hook output priority filter; policy accept;\nip daddr @keys meta l4proto tcp reject with tcp reset',
      'ip daddr @keys reject with icmp port-unreachable',
    ],
  },
  guard: () => '',
};

/**
 * The virtual IPs of some networks, with the addresses of the tasks that serve, in the plan's order. Those of the ingress network,
 * which every published service is on, are nobody's to call.
 */
export function virtualIps(plan: NetworkPlan, networkIds: readonly string[]): Balances {
  const balances = new Map<string, string[]>();
  for (const network of plan.networks) {
    if (!networkIds.includes(network.id) || network.id === plan.ingressNetworkId) continue;
    const serving = servingTasks(network);
    for (const { serviceId, virtualIp } of network.services) {
      const addresses = (serving.get(serviceId) ?? []).map(({ address }) => address);
      if (virtualIp !== '') balances.set(virtualIp, addresses);
    }
  }
  return balances;
}
