import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import type { SwarmInfo } from '#cluster/control/swarm-membership.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import type { NodeDescription } from '#model/node.ts';

/** The cluster without its tokens, as `docker info` has it. */
function clusterView(control: ClusterControl): object {
  const { record, revision } = control.swarm.inspect();
  return {
    ID: record.ID,
    Version: { Index: revision },
    CreatedAt: record.CreatedAt,
    UpdatedAt: record.UpdatedAt,
    Spec: { ...record.Spec, Labels: record.Spec.Labels ?? {} },
    TLSInfo: tlsInfo(control, record.rootCertificate),
    RootRotationInProgress: record.previousRootCertificate !== undefined,
    DefaultAddrPool: record.DefaultAddrPool,
    SubnetSize: record.SubnetSize,
    DataPathPort: record.DataPathPort,
  };
}

/** The cluster as `docker swarm inspect` of the API gives it. */
export function swarmView(control: ClusterControl): object {
  return { ...clusterView(control), JoinTokens: control.swarm.inspect().record.joinTokens };
}

/** The root that signs. A node that trusts it before others got its certificate of it, and says what that is. */
function tlsInfo(control: ClusterControl, TrustRoot: string): NonNullable<NodeDescription['TLSInfo']> {
  for (const { record } of control.nodes.list({})) {
    const info = record.Description?.TLSInfo;
    if (info?.TrustRoot.startsWith(TrustRoot) === true) return { ...info, TrustRoot };
  }
  return { TrustRoot, CertIssuerSubject: '', CertIssuerPublicKey: '' };
}

/** The Swarm part of `docker info`. */
export function swarmInfoView(info: SwarmInfo, control: () => ClusterControl): object {
  const { managers } = info;
  return {
    NodeID: info.nodeId,
    NodeAddr: info.nodeAddress,
    LocalNodeState: info.state,
    ControlAvailable: info.controlAvailable,
    Error: info.error,
    RemoteManagers:
      managers.length === 0
        ? null
        : managers.map(({ nodeId, address }) => ({ NodeID: nodeId, Addr: address })),
    ...(info.controlAvailable ? known(control()) : {}),
  };
}

/** As with Docker, what a manager cannot tell is no failure of `docker info`. */
function known(control: ClusterControl): object {
  try {
    const { nodes, managers } = control.nodes.count();
    return { Nodes: nodes, Managers: managers, Cluster: clusterView(control) };
  } catch (error) {
    if (kindOf(error) !== 'unavailable') throw error;
    return { Error: messageOf(error) };
  }
}

/** The `Swarm` header of a ping. */
export function swarmHeader({ state, controlAvailable }: SwarmInfo): string {
  return state === 'active' ? `active/${controlAvailable ? 'manager' : 'worker'}` : state;
}
