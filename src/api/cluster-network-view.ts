import { VNI_OPTION } from '#cluster/control/new-network.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';

/** A network of the cluster as `docker network inspect` prints it; of the containers on it those of one host. */
export function clusterNetworkView(
  network: ClusterNetworkRecord,
  containers: Record<string, object>,
): object {
  return {
    Name: network.Name,
    Id: network.ID,
    Created: network.CreatedAt,
    Scope: 'swarm',
    Driver: network.Driver,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: network.IPAM,
    Internal: network.Internal,
    Attachable: network.Attachable,
    Ingress: network.Ingress,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: containers,
    Options: optionsOf(network),
    Labels: network.Labels,
  };
}

/** The same network as a task shows it, in the words of the cluster. */
export function clusterNetworkObject(network: ClusterNetworkRecord, version: number): object {
  return {
    ID: network.ID,
    Version: { Index: version },
    CreatedAt: network.CreatedAt,
    UpdatedAt: network.UpdatedAt,
    Spec: {
      Name: network.Name,
      Labels: network.Labels,
      DriverConfiguration: { Name: network.Driver, Options: network.Options },
      ...(network.Internal ? { Internal: true } : {}),
      ...(network.Attachable ? { Attachable: true } : {}),
      ...(network.Ingress ? { Ingress: true } : {}),
      IPAMOptions: { Driver: { Name: network.IPAM.Driver } },
      Scope: 'swarm',
    },
    DriverState: { Name: network.Driver, Options: optionsOf(network) },
    IPAMOptions: { Driver: { Name: network.IPAM.Driver }, Configs: network.IPAM.Config },
  };
}

function optionsOf(network: ClusterNetworkRecord): Record<string, string> {
  return { [VNI_OPTION]: String(network.vni), ...network.Options };
}
