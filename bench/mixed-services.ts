import type { SimulatedNode, SimulatedService } from '#cluster/scheduler/simulated-cluster.ts';

/** Which of so many nodes make up a share of them, of all zones and kinds. */
export function spreadOver(nodes: number, share: number): number[] {
  return Array.from({ length: Math.round(nodes * share) }, (_, at) => Math.floor(at / share) + (at % 10));
}

export function nodeId(at: number): string {
  return `node${String(at).padStart(5, '0')}`;
}

/** Machines of four sizes in five zones of ten racks each; every fifth has devices, every tenth another processor. */
export function mixedNode(at: number, random: () => number): SimulatedNode {
  const cpus = [16, 32, 32, 48][Math.floor(random() * 4)] ?? 32;
  return {
    cpus,
    memoryGib: cpus * (random() < 0.5 ? 2 : 4),
    arch: at % 10 === 9 ? 'aarch64' : 'x86_64',
    role: at % 1000 === 0 ? 'manager' : 'worker',
    labels: {
      zone: `zone${at % 5}`,
      rack: `rack${at % 50}`,
      disk: random() < 0.6 ? 'ssd' : 'hdd',
    },
    ...(at % 5 === 0 ? { generic: [{ DiscreteResourceSpec: { Kind: 'device', Value: 64 } }] } : {}),
  };
}

/** Twenty kinds of services, which have between them everything that a placement can ask for. */
export function mixedService(at: number, tasks: number): SimulatedService {
  const zone = `zone${Math.floor(at / 20) % 5}`;
  const spread = (...keys: string[]) => keys.map((SpreadDescriptor) => ({ Spread: { SpreadDescriptor } }));
  const amd64 = [{ Architecture: 'amd64', OS: 'linux' }];
  const kinds: readonly SimulatedService[] = [
    {},
    { cpus: 0.1, memoryGib: 0.25 },
    { cpus: 0.25, memoryGib: 0.5 },
    { memoryGib: 0.125 },
    { cpus: 0.1, memoryGib: 0.25, placement: { Constraints: [`node.labels.zone == ${zone}`] } },
    { cpus: 0.25, memoryGib: 0.25, placement: { Constraints: [`node.labels.zone == ${zone}`] } },
    { cpus: 0.1, memoryGib: 0.5, placement: { Constraints: ['node.labels.disk == ssd'] } },
    { cpus: 0.2, placement: { Constraints: ['node.labels.disk != ssd', 'node.role == worker'] } },
    { cpus: 0.1, memoryGib: 0.25, placement: { Platforms: amd64 } },
    { cpus: 0.1, placement: { Platforms: amd64, Constraints: [`node.labels.zone != ${zone}`] } },
    { cpus: 0.2, memoryGib: 0.25, placement: { Preferences: spread('node.labels.zone') } },
    { memoryGib: 0.25, placement: { Preferences: spread('node.labels.zone', 'node.labels.rack') } },
    { cpus: 0.1, placement: { MaxReplicas: 1 } },
    { cpus: 0.1, memoryGib: 0.125, placement: { MaxReplicas: 2, Preferences: spread('node.labels.rack') } },
    { ports: [{ TargetPort: 80, PublishedPort: 1024 + at, PublishMode: 'host' }], cpus: 0.1 },
    { ...{ cpus: 0.1, memoryGib: 0.25 }, generic: [{ DiscreteResourceSpec: { Kind: 'device', Value: 1 } }] },
    { cpus: 0.3, memoryGib: 0.75 },
    { mounts: [{ Type: 'volume', Source: 'cache', Target: '/cache' }], cpus: 0.1, memoryGib: 0.25 },
    { placement: { Constraints: ['node.hostname != host-node00000'] }, cpus: 0.1 },
    { cpus: 0.05, memoryGib: 0.125 },
  ];
  return { mode: { Replicated: { Replicas: tasks } }, ...kinds[at % kinds.length] };
}

/** Numbers from 0 to 1, the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
