import { notImplemented } from '#model/errors.ts';
import type { ClusterControl } from './cluster-control.ts';
import type { ClusterOperator, RestoredCluster } from './cluster-operator.ts';
import { notAManager, notInASwarm } from './control-errors.ts';
import type { SwarmInfo, SwarmMembership, SwarmState, TaskLogRecord } from './swarm-membership.ts';

/** A node that is in no swarm, and cannot get into one. */
export class InactiveSwarm implements SwarmMembership {
  readonly state: SwarmState = 'inactive';
  readonly nodeId = '';
  readonly nodeAddress = '';

  info(): SwarmInfo {
    return {
      state: this.state,
      nodeId: this.nodeId,
      nodeAddress: this.nodeAddress,
      controlAvailable: false,
      error: '',
      managers: [],
    };
  }

  control(): ClusterControl {
    throw notAManager();
  }

  operator(): ClusterOperator {
    throw notAManager();
  }

  async restore(): Promise<RestoredCluster> {
    throw notImplemented('POST /cluster/restore is not there: this daemon is one host, not a cluster');
  }

  async init(): Promise<string> {
    throw notImplemented('POST /swarm/init is not there yet: this daemon is one host, not a cluster');
  }

  async join(): Promise<void> {
    throw notImplemented('POST /swarm/join is not there yet: this daemon is one host, not a cluster');
  }

  async attachableNetwork(): Promise<undefined> {
    return undefined;
  }

  async leave(): Promise<void> {
    throw notInASwarm();
  }

  async unlock(): Promise<void> {
    throw notAManager();
  }

  async unlockKey(): Promise<string> {
    throw notAManager();
  }

  logs(): AsyncIterable<TaskLogRecord> {
    throw notAManager();
  }

  subscribe(): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }
}
