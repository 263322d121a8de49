import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { ClusterOperator, ClusterStatus } from '#cluster/control/cluster-operator.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { booleanOf } from './query.ts';
import { readBody } from './request-body.ts';
import type { Route } from './route.ts';

/** What Docker's API has no words for: what keeps a cluster going, and why it is as it is. */
export const clusterOperationRoutes: readonly Route[] = [
  { method: 'GET', path: '/cluster/status', operation: 'ClusterStatus', handler: status },
  { method: 'GET', path: '/cluster/backup', operation: 'ClusterBackup', handler: backup },
  { method: 'GET', path: '/cluster/key', operation: 'ClusterKey', handler: key },
  { method: 'POST', path: '/cluster/restore', operation: 'ClusterRestore', handler: restore },
  { method: 'POST', path: '/cluster/recover', operation: 'ClusterRecover', handler: recover },
  { method: 'POST', path: '/cluster/compact', operation: 'ClusterCompact', handler: compact },
  { method: 'POST', path: '/cluster/networks/check', operation: 'ClusterNetworkCheck', handler: check },
  { method: 'GET', path: '/cluster/networks/why', operation: 'ClusterNetworkWhy', handler: why },
  { method: 'GET', path: '/services/{id}/explain', operation: 'ServiceExplain', handler: explain },
];

/** Carries the managers' key of a restore: not in the address, which logs keep. */
const KEY_HEADER = 'x-drover-key';

function operatorOf(call: Call): ClusterOperator {
  return call.parts.cluster.operator();
}

async function status(call: Call): Promise<void> {
  call.json(200, statusView(await operatorOf(call).status()));
}

function statusView(o: ClusterStatus): object {
  const nameOf = (nodeId: string): string =>
    o.nodes.find(({ ID }) => ID === nodeId)?.Description?.Hostname ?? nodeId;
  return {
    ClusterID: o.clusterId,
    NodeID: o.nodeId,
    Leader: o.leader ?? null,
    Nodes: o.nodes.map(({ ID, Spec, Status, ManagerStatus, Description, address }) => ({
      ID,
      Hostname: Description?.Hostname ?? '',
      Role: Spec.Role,
      Availability: Spec.Availability,
      State: Status.State,
      Since: Status.since,
      Message: Status.Message ?? '',
      Address: address,
      Manages: ManagerStatus !== undefined,
      IsLeader: ID === o.leader,
      EngineVersion: Description?.Engine.EngineVersion ?? '',
    })),
    Store: {
      Kind: o.store.kind,
      Revision: o.store.revision,
      Problem: o.store.problem ?? null,
      Members: o.store.members.map(({ nodeId, isLeader, bytes, problem }) => ({
        NodeID: nodeId,
        Hostname: nameOf(nodeId),
        IsLeader: isLeader,
        Bytes: bytes ?? null,
        Problem: problem ?? null,
      })),
    },
    Controllers: o.controllers.map((each) => ({
      Name: each.name,
      WaitingKeys: each.waitingKeys,
      Rounds: each.rounds,
      Writes: each.writes,
      LastError: each.lastError ?? null,
    })),
    Waiting: o.waiting.map(({ record, name, reason, since }) => ({
      TaskID: record.ID,
      Name: name,
      State: record.Status.State,
      Reason: reason,
      Since: since,
    })),
    Changing: o.changing.map(({ name, state, message, running, desired }) => ({
      Service: name,
      State: state,
      Message: message,
      RunningTasks: running,
      DesiredTasks: desired,
    })),
  };
}

/** The file as it is; where it came from is in the answer's head. */
async function backup(call: Call): Promise<void> {
  const { clusterId, revision, count, bytes, content } = await operatorOf(call).backup();
  call.response.writeHead(200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': bytes,
    'X-Drover-Cluster': clusterId,
    'X-Drover-Revision': revision,
    'X-Drover-Entries': count,
  });
  await pipeline(content, call.response);
}

function key(call: Call): void {
  call.json(200, { Key: operatorOf(call).managerKey() });
}

async function restore(call: Call): Promise<void> {
  const given = call.request.headers[KEY_HEADER];
  if (typeof given !== 'string' || given === '') throw invalid(`the header ${KEY_HEADER} has no key`);
  const { nodeId, clusterId, count } = await call.parts.cluster.restore({
    content: call.request,
    key: given,
    listenAddress: call.query.get('listen') ?? '',
    advertiseAddress: call.query.get('advertise') ?? '',
    dataPathAddress: call.query.get('dataPath') ?? '',
  });
  call.json(200, { NodeID: nodeId, ClusterID: clusterId, Entries: count });
}

async function recover(call: Call): Promise<void> {
  const { Force } = await readBody(call, z.object({ Force: z.boolean().nullish() }).default({}));
  call.json(200, { NodeID: await operatorOf(call).recover({ force: Force ?? false }) });
}

async function compact(call: Call): Promise<void> {
  const members = await operatorOf(call).compact();
  call.json(
    200,
    members.map(({ nodeId, name, bytesBefore, bytesAfter }) => ({
      NodeID: nodeId,
      Hostname: name,
      BytesBefore: bytesBefore ?? null,
      BytesAfter: bytesAfter ?? null,
    })),
  );
}

function explain(call: Call): void {
  const { serviceId, name, tasks } = operatorOf(call).explain(call.param('id'));
  call.json(200, {
    ServiceID: serviceId,
    Name: name,
    Tasks: tasks.map((task) => ({
      ID: task.taskId,
      Name: task.name,
      State: task.state,
      DesiredState: task.desiredState,
      Error: task.error,
      NodeID: task.nodeId ?? null,
      Summary: task.summary,
      Remedies: task.remedies,
      Nodes: task.nodes.map((node) => ({
        ID: node.nodeId,
        Hostname: node.name,
        Refusals: node.refusals.map((refusal) => ({
          Filter: refusal.filter,
          Reason: refusal.reason,
          Remedy: refusal.remedy,
        })),
        Score: node.score ?? null,
      })),
    })),
  });
}

async function check(call: Call): Promise<void> {
  const found = await operatorOf(call).checkNetworks({
    heal: booleanOf(call.query, 'heal'),
    signal: call.signal,
  });
  call.json(
    200,
    found.map(({ nodeId, name, differences, problem }) => ({
      NodeID: nodeId,
      Hostname: name,
      Differences: differences,
      Problem: problem ?? null,
    })),
  );
}

async function why(call: Call): Promise<void> {
  const [from, to] = [call.query.get('from') ?? '', call.query.get('to') ?? ''];
  if (from === '' || to === '') throw invalid('from and to have to be given');
  const found = await operatorOf(call).whyUnreachable({ from, to, signal: call.signal });
  call.json(
    200,
    found.map(({ nodeId, name, reasons, problem }) => ({
      NodeID: nodeId,
      Hostname: name,
      Reasons: reasons,
      Problem: problem ?? null,
    })),
  );
}
