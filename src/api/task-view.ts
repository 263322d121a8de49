import type { TaskEntry } from '#cluster/control/task-control.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { clusterNetworkObject } from './cluster-network-view.ts';
import { taskSpecView } from './service-view.ts';

/** A network of the cluster with its version; undefined when it is gone. */
export type NetworkOfTask = (id: string) => { record: ClusterNetworkRecord; revision: number } | undefined;

/** A task as `docker inspect` prints it. */
export function taskView(
  { record, version, name, slot, template }: TaskEntry,
  networkOf: NetworkOfTask,
): object {
  const { waiting } = record;
  const { startedAt: _startedAt, ...Status } = record.Status;
  // Docker's client cuts it to its column, and shows all of it with --no-trunc
  const Err = Status.Err ?? waiting?.reason;
  const attachments = record.networks.flatMap(({ networkId, address, aliases }) => {
    const network = networkOf(networkId);
    if (network === undefined) return [];
    return [
      {
        Network: clusterNetworkObject(network.record, network.revision),
        Addresses: address === '' ? [] : [address],
        ...(aliases.length === 0 ? {} : { Aliases: aliases }),
      },
    ];
  });
  return {
    ID: record.ID,
    Version: { Index: version },
    CreatedAt: record.CreatedAt,
    UpdatedAt: record.UpdatedAt,
    Name: name,
    Labels: {},
    Spec: template === undefined ? {} : taskSpecView(template),
    ServiceID: record.ServiceID,
    ...(slot === 0 ? {} : { Slot: slot }),
    ...(record.NodeID === '' ? {} : { NodeID: record.NodeID }),
    Status: {
      ...Status,
      ...(Err === undefined ? {} : { Err }),
      PortStatus: Status.PortStatus ?? {},
    },
    DesiredState: record.DesiredState,
    ...(attachments.length === 0 ? {} : { NetworksAttachments: attachments }),
    ...(record.AssignedGenericResources === undefined
      ? {}
      : { GenericResources: record.AssignedGenericResources }),
    ...(record.JobIteration === undefined ? {} : { JobIteration: { Index: record.JobIteration } }),
  };
}
