import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import { systemClock } from '#control/clock.ts';
import { systemRandom } from '#control/random.ts';
import type { NodeRole } from '#model/node.ts';
import { idFor, TestAuthority } from '../support/cluster-certificates.ts';
import { Wire } from '../support/wire.ts';

/** A manager and a worker that can reach each other, and what may happen to the line between them. */
export interface World extends AsyncDisposable {
  readonly manager: Transport;
  readonly worker: Transport;
  readonly managerAddress: string;
  readonly workerAddress: string;
  /** What was reported of handlers. */
  readonly reported: unknown[];
  /** Roles that nodes are not allowed any more, as `ID role`; both for one that was removed. */
  readonly refused: Set<string>;
  /** Connections from worker to manager break. */
  break(): void;
  /** Nothing gets from worker to manager any more, and nobody is told. */
  silence(): void;
}

export const MANAGER: string = idFor('manager');
export const WORKER: string = idFor('worker');

export async function memoryWorld(): Promise<World> {
  const reported: unknown[] = [];
  const refused = new Set<string>();
  const network = new MemoryNetwork({
    clock: systemClock,
    random: systemRandom,
    report: (error) => reported.push(error),
    delayMs: { least: 0, most: 1 },
    deadAfterMs: 100,
  });
  const isAllowed = (id: string, role: NodeRole): boolean => !refused.has(`${id} ${role}`);
  return {
    manager: network.node('manager:1', { nodeId: MANAGER, role: 'manager' }, isAllowed),
    worker: network.node('worker:1', { nodeId: WORKER, role: 'worker' }),
    managerAddress: 'manager:1',
    workerAddress: 'worker:1',
    reported,
    refused,
    break: () => network.breakConnections('manager:1', 'worker:1'),
    silence: () => network.partition(['manager:1'], ['worker:1']),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export async function tlsWorld(): Promise<World> {
  const parts = new AsyncDisposableStack();
  const reported: unknown[] = [];
  const refused = new Set<string>();
  const authority = await TestAuthority.create();
  const common = {
    clock: systemClock,
    report: (error: unknown): unknown => reported.push(error),
    limits: { pingIntervalMs: 50, missedPings: 4 },
  };
  const manager = parts.use(
    new TlsTransport({
      ...common,
      credentials: await authority.credentials('manager', 'manager'),
      isAllowed: (id, role) => !refused.has(`${id} ${role}`),
    }),
  );
  const worker = parts.use(
    new TlsTransport({
      ...common,
      credentials: await authority.credentials('worker', 'worker'),
      isAllowed: () => true,
    }),
  );
  const wire = parts.use(await Wire.to(await manager.listen('127.0.0.1', 0)));
  return {
    manager,
    worker,
    managerAddress: `127.0.0.1:${wire.port}`,
    workerAddress: `127.0.0.1:${await worker.listen('127.0.0.1', 0)}`,
    reported,
    refused,
    break: () => wire.break(),
    silence: () => wire.silence(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
