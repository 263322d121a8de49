import type { ViewChange } from '#cluster/state/tables.ts';
import type { EventType } from '#model/event.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ServiceRecord } from '#model/service.ts';

/** What happened to something of the cluster, as `docker events` shows it with scope `swarm`. */
export interface ClusterEvent {
  readonly type: Extract<EventType, 'service' | 'node' | 'network' | 'secret' | 'config'>;
  readonly action: 'create' | 'update' | 'remove';
  readonly id: string;
  readonly attributes: Record<string, string>;
}

/** The events that changes of the view are. A manager's first listing is no change of the cluster: it is not for this function. */
export function clusterEventsOf(changes: readonly ViewChange[]): ClusterEvent[] {
  return changes.flatMap((change) => eventOf(change) ?? []);
}

function eventOf(change: ViewChange): ClusterEvent | undefined {
  switch (change.table) {
    case 'service':
      return event('service', gone(change), (service) => ({ name: service.Spec.Name }), serviceDifference);
    case 'node':
      return event('node', change, (node) => ({ name: nodeName(node) }), nodeDifference);
    case 'network':
      return event('network', gone(change), (network) => ({ name: network.Name }));
    case 'secret':
      return event('secret', change, ({ Spec }) => ({ name: Spec.Name }));
    case 'config':
      return event('config', change, ({ Spec }) => ({ name: Spec.Name }));
    case 'swarm':
    case 'revision':
    case 'task':
    case 'release':
    case 'attachment':
      return undefined;
  }
}

interface Pair<T> {
  readonly id: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
}

/** What is being removed is gone to everybody but the controllers. */
function gone<T extends { removing?: boolean }>({ id, before, after }: Pair<T>): Pair<T> {
  const there = (record: T | undefined): T | undefined => (record?.removing === true ? undefined : record);
  return { id, before: there(before), after: there(after) };
}

function event<T>(
  type: ClusterEvent['type'],
  { id, before, after }: Pair<T>,
  named: (record: T) => Record<string, string>,
  difference: (before: T, after: T) => Record<string, string> = () => ({}),
): ClusterEvent | undefined {
  if (before === undefined) {
    return after === undefined ? undefined : { type, action: 'create', id, attributes: named(after) };
  }
  if (after === undefined) return { type, action: 'remove', id, attributes: named(before) };
  return { type, action: 'update', id, attributes: { ...named(after), ...difference(before, after) } };
}

function serviceDifference(before: ServiceRecord, after: ServiceRecord): Record<string, string> {
  return {
    ...changed('replicas', replicasOf(before), replicasOf(after)),
    ...changed('image', imageOf(before), imageOf(after)),
    ...changed('updatestate', before.UpdateStatus?.State, after.UpdateStatus?.State),
  };
}

function nodeDifference(before: NodeRecord, after: NodeRecord): Record<string, string> {
  return {
    ...changed('availability', before.Spec.Availability, after.Spec.Availability),
    ...changed('role', before.Spec.Role, after.Spec.Role),
    ...changed('state', before.Status.State, after.Status.State),
  };
}

/** `KEY.old` and `KEY.new`, each where there is one, and nothing when they are the same. */
function changed(key: string, before: string | undefined, after: string | undefined): Record<string, string> {
  if (before === after) return {};
  return {
    ...(before === undefined ? {} : { [`${key}.old`]: before }),
    ...(after === undefined ? {} : { [`${key}.new`]: after }),
  };
}

function replicasOf({ Spec }: ServiceRecord): string | undefined {
  return Spec.Mode?.Replicated?.Replicas?.toString();
}

function imageOf({ Spec }: ServiceRecord): string {
  return Spec.TaskTemplate.ContainerSpec.Image;
}

function nodeName({ Spec, Description }: NodeRecord): string {
  return Spec.Name ?? Description?.Hostname ?? '';
}
