import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { ServiceInChange, StoreMember, WaitingTask } from '#cluster/control/cluster-operator.ts';
import { serviceStatus } from '#cluster/control/service-status.ts';
import type { ControllerFigures } from '#cluster/controllers/leader-loop.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { memberHealth } from '#cluster/store/etcd-cluster.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import { forbidden, messageOf } from '#model/errors.ts';
import type { ManagerStore } from './manager-store.ts';

/** A manager asks the one that leads how its controllers do. */
const FIGURES_METHOD = 'figures';
const FIGURES_LIMIT_MS = 3000;

const FIGURES: z.ZodType<{ figures: ControllerFigures[] }> = z.object({
  figures: z
    .array(
      z.object({
        ...{ name: z.string().max(100), waitingKeys: z.number(), rounds: z.number(), writes: z.number() },
        lastError: z
          .string()
          .max(10_000)
          .optional()
          .transform((text) => text),
      }),
    )
    .max(100),
});

export function serveFigures(transport: Transport, figures: () => ControllerFigures[]): void {
  transport.serve(FIGURES_METHOD, async (channel, peer) => {
    if (peer?.role !== 'manager') throw forbidden('only managers ask for figures');
    await channel.send({ figures: figures() });
  });
}

/** The figures of the manager at `address`; empty where it does not answer. */
export async function askFigures(
  transport: Transport,
  address: string,
  report: (message: string, details: object) => void,
): Promise<ControllerFigures[]> {
  try {
    const channel = await transport.open(address, FIGURES_METHOD, AbortSignal.timeout(FIGURES_LIMIT_MS));
    try {
      return parseMessage(FIGURES, await firstMessage(channel), 'figures of the leader').figures;
    } finally {
      channel.close();
    }
  } catch (error) {
    report('the leader does not tell its figures', { address, error: messageOf(error) });
    return [];
  }
}

/** The store's members, each asked itself; without a quorum those that answer are not listed, and why not is this one's problem. */
export async function membersOf(store: ManagerStore, nodeId: string): Promise<StoreMember[]> {
  if (store.etcd === undefined) {
    const bytes = store.store instanceof SqliteStore ? store.store.bytes : undefined;
    return [{ nodeId, isLeader: true, bytes, problem: undefined }];
  }
  try {
    return (await memberHealth(store.etcd)).map(({ name, isLeader, databaseBytes: bytes, problem }) => ({
      ...{ nodeId: name, isLeader, bytes, problem },
    }));
  } catch (error) {
    return [{ nodeId, isLeader: false, bytes: undefined, problem: messageOf(error) }];
  }
}

/** Tasks that are wanted and not placed, or placed and failing to start, with the reason that is known. */
export function waitingTasks(view: ClusterView): WaitingTask[] {
  const waiting: WaitingTask[] = [];
  for (const record of view.all('task')) {
    if (record.waiting === undefined || !isWanted(record) || record.Status.State === 'running') continue;
    const service = view.get('service', record.ServiceID)?.Spec.Name ?? record.ServiceID;
    const place = record.Slot === 0 ? record.NodeID : record.Slot;
    waiting.push({ record, name: `${service}.${place}`, ...record.waiting });
  }
  return waiting.sort((a, b) => (a.since < b.since ? -1 : 1));
}

const SETTLED = ['completed', 'rollback_completed'];

/** Services whose update or rollback is under way, or was stopped by a failure. */
export function servicesInChange(view: ClusterView): ServiceInChange[] {
  return [...view.all('service')].flatMap((service) => {
    const update = service.UpdateStatus;
    if (update === undefined || SETTLED.includes(update.State) || service.removing === true) return [];
    const { RunningTasks, DesiredTasks } = serviceStatus(service, view.tasksOfService(service.ID));
    const counts = { running: RunningTasks, desired: DesiredTasks };
    return [{ name: service.Spec.Name, state: update.State, message: update.Message ?? '', ...counts }];
  });
}
