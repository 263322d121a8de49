import type { PlannedEndpoint, PlannedNetwork } from '#model/network-plan.ts';
import { type Names, type ResolvedName, rotated, withoutNetwork } from './network-names.ts';
import { servingTasks } from './serving-tasks.ts';

/** A virtual IP stays with its service. */
const SERVICE_TTL_SECONDS = 600;
/** Tasks come and go: whoever keeps their addresses for longer calls some that are gone. */
const TASK_TTL_SECONDS = 1;

/**
 * The names on an overlay network, made of the plan: a service's name and aliases lead to its virtual IP, or to its tasks where it has
 * none; `tasks.SERVICE` to the tasks; a task's own names to it; an attached container's to it, where they are nobody else's. Only what serves is
 * named.
 */
export class ServiceNames implements Names {
  readonly #networkName: string;
  readonly #names = new Map<string, { addresses: string[]; ttlSeconds: number }>();
  readonly #owners = new Map<string, string>();
  #turn = 0;

  constructor(network: PlannedNetwork) {
    this.#networkName = network.name;
    const serving = servingTasks(network);
    for (const service of network.services) {
      const addresses = (serving.get(service.serviceId) ?? []).map(({ address }) => address);
      this.#add(`tasks.${service.name}`, addresses, TASK_TTL_SECONDS);
      for (const name of [service.name, ...service.aliases]) {
        if (service.virtualIp === '') this.#add(name, addresses, TASK_TTL_SECONDS);
        else this.#add(name, [service.virtualIp], SERVICE_TTL_SECONDS);
      }
      if (service.virtualIp !== '') this.#owners.set(service.virtualIp, service.name);
    }
    const all = [...serving.values()].flat();
    const [attached, tasks] = [all.filter(isAttached), all.filter((each) => !isAttached(each))];
    for (const task of tasks) this.#addEndpoint(task, task.aliases);
    // a container that a node attaches cannot be taken for a service or a task
    const taken = new Set(this.#names.keys());
    for (const container of attached) {
      const names = container.aliases.filter((name) => !taken.has(name.toLowerCase()));
      this.#addEndpoint(container, names);
    }
  }

  /** An empty list is a service without a task that serves. Another address first each time. */
  addresses(name: string): ResolvedName | undefined {
    const found = this.#names.get(name) ?? this.#names.get(withoutNetwork(name, this.#networkName));
    if (found === undefined) return undefined;
    this.#turn = (this.#turn + 1) % Math.max(found.addresses.length, 1);
    return { ...found, addresses: rotated(found.addresses, this.#turn) };
  }

  nameOf(address: string): string | undefined {
    const owner = this.#owners.get(address);
    return owner === undefined ? undefined : `${owner}.${this.#networkName}`;
  }

  #addEndpoint({ address, aliases }: PlannedEndpoint, names: readonly string[]): void {
    for (const name of names) this.#add(name, [address], TASK_TTL_SECONDS);
    const [own] = aliases;
    if (own !== undefined) this.#owners.set(address, own);
  }

  #add(name: string, addresses: readonly string[], ttlSeconds: number): void {
    const key = name.toLowerCase();
    const known = this.#names.get(key);
    if (known === undefined) {
      this.#names.set(key, { addresses: [...addresses], ttlSeconds });
      return;
    }
    known.addresses = [...new Set([...known.addresses, ...addresses])];
    known.ttlSeconds = Math.min(known.ttlSeconds, ttlSeconds);
  }
}

function isAttached({ containerId }: PlannedEndpoint): boolean {
  return containerId !== undefined;
}
