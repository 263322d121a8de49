import { rotationStep } from '#cluster/ca/root-rotation.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import { type Controller, type Decision, type DecisionContext, NOTHING } from './controller.ts';

/** Ends the replacement of a CA when every node has a certificate of the new one: from then on the old root is not trusted. Its key is the swarm's ID. */
export class RootRotationEnd implements Controller {
  readonly name = 'root-rotation';

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    if (change.table !== 'swarm' && change.table !== 'node') return;
    for (const { ID, previousRootCertificate } of view.all('swarm'))
      if (previousRootCertificate !== undefined) yield ID;
  }

  reconcile(view: ClusterView, key: string, { nowMs }: DecisionContext): Decision {
    const swarm = view.get('swarm', key);
    if (swarm === undefined) return NOTHING;
    const step = rotationStep(swarm, view.all('node'));
    if (step.kind !== 'finish') return NOTHING;
    const put = { ...step.swarm, UpdatedAt: new Date(nowMs).toISOString() };
    return { writes: [{ table: 'swarm', put }] };
  }
}
