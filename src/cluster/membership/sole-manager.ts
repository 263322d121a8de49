import type { Clock } from '#control/clock.ts';
import { MOST_WRITES, withoutFences, withoutOtherManagers } from './cluster-backup.ts';
import type { ManagerRole } from './manager-role.ts';

/** Writes down that the others are lost, once this manager leads: they manage no more, and nodes say anew what they end by themselves. */
export async function becomeSoleManager(
  manager: ManagerRole,
  o: { readonly nodeId: string; readonly clock: Clock; readonly limitMs: number },
): Promise<void> {
  await manager.ready(AbortSignal.timeout(o.limitMs));
  // before that the lease of the leader that was lost has to end
  const limit = AbortSignal.timeout(o.limitMs);
  while (manager.leader?.nodeId !== o.nodeId) await o.clock.sleep(50, limit);
  await manager.write(() => withoutOtherManagers(manager.view, o.nodeId));
  const fenced = new Set(withoutFences(manager.view).map(({ put }) => put.ID));
  while (fenced.size > 0) {
    const next = new Set([...fenced].slice(0, MOST_WRITES));
    await manager.write(() => withoutFences(manager.view).filter(({ put }) => next.has(put.ID)));
    for (const id of next) fenced.delete(id);
  }
}
