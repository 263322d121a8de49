import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import { isTerminal } from '#model/task.ts';
import { type Controller, type Decision, NOTHING } from './controller.ts';

/** Deletes networks that were removed while tasks of removed services were on them, with the last of those. Keys are network IDs. */
export class NetworkReaper implements Controller {
  readonly name = 'network-reaper';

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    if (change.table === 'network' && change.after?.removing === true) yield change.id;
    if (change.table !== 'task' || (change.after !== undefined && !isTerminal(change.after.Status.State)))
      return;
    for (const { networkId } of change.before?.networks ?? []) {
      if (view.get('network', networkId)?.removing === true) yield networkId;
    }
  }

  /** Looks at every task, which only a network on its way out is worth. */
  reconcile(view: ClusterView, key: string): Decision {
    if (view.get('network', key)?.removing !== true) return NOTHING;
    for (const { Status, networks } of view.all('task')) {
      if (!isTerminal(Status.State) && networks.some(({ networkId }) => networkId === key)) return NOTHING;
    }
    return { writes: [{ table: 'network', delete: key }] };
  }
}
