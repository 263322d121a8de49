import type { ApiClient } from './api-client.ts';
import { bytesText } from './cluster-backup.ts';
import { formatTable } from './table.ts';

interface StatusView {
  ClusterID: string;
  NodeID: string;
  Leader: string | null;
  Nodes: {
    ID: string;
    Hostname: string;
    Role: string;
    Availability: string;
    State: string;
    Since: string;
    Address: string;
    Manages: boolean;
    IsLeader: boolean;
    EngineVersion: string;
  }[];
  Store: {
    Kind: string;
    Revision: number;
    Problem: string | null;
    Members: {
      Hostname: string;
      NodeID: string;
      IsLeader: boolean;
      Bytes: number | null;
      Problem: string | null;
    }[];
  };
  Controllers: {
    Name: string;
    WaitingKeys: number;
    Rounds: number;
    Writes: number;
    LastError: string | null;
  }[];
  Waiting: { Name: string; State: string; Reason: string; Since: string }[];
  Changing: { Service: string; State: string; Message: string; RunningTasks: number; DesiredTasks: number }[];
}

/** `drover cluster status`. */
export async function printStatus(client: ApiClient, format: 'table' | 'json'): Promise<void> {
  const status = await client.call<StatusView>('GET', '/cluster/status');
  if (format === 'json') {
    console.log(JSON.stringify(status, undefined, 2));
    return;
  }
  const { Store } = status;
  const leader = status.Nodes.find(({ IsLeader }) => IsLeader);
  console.log(`Cluster ${status.ClusterID}, led by ${leader?.Hostname ?? 'nobody at the moment'}`);
  console.log(
    `Store: ${Store.Kind}, revision ${Store.Revision}${Store.Problem === null ? '' : ` (${Store.Problem})`}`,
  );
  section(
    'Nodes',
    ['NODE', 'ROLE', 'STATE', 'AVAILABILITY', 'SINCE', 'ADDRESS', 'VERSION'],
    status.Nodes.toSorted((a, b) => a.Hostname.localeCompare(b.Hostname)).map((node) => [
      `${node.Hostname}${node.ID === status.NodeID ? ' *' : ''}`,
      roleOf(node),
      ...[node.State, node.Availability, node.Since, node.Address, node.EngineVersion],
    ]),
  );
  section(
    'Store members',
    ['NODE', 'LEADS', 'SIZE', 'PROBLEM'],
    Store.Members.map((member) => [
      member.Hostname === '' ? '(not started)' : member.Hostname,
      member.IsLeader ? 'yes' : '',
      member.Bytes === null ? '' : bytesText(member.Bytes),
      member.Problem ?? '',
    ]),
  );
  section(
    'Controllers',
    ['NAME', 'WAITING', 'ROUNDS', 'WRITES', 'LAST ERROR'],
    status.Controllers.map((each) => [
      each.Name,
      ...[each.WaitingKeys, each.Rounds, each.Writes].map(String),
      each.LastError ?? '',
    ]),
  );
  section(
    'Waiting tasks (drover service explain tells more)',
    ['TASK', 'STATE', 'SINCE', 'FOR'],
    status.Waiting.map(({ Name, State, Since, Reason }) => [Name, State, Since, Reason]),
  );
  section(
    'Services in change',
    ['SERVICE', 'STATE', 'TASKS', 'MESSAGE'],
    status.Changing.map((each) => [
      ...[each.Service, each.State, `${each.RunningTasks}/${each.DesiredTasks}`, each.Message],
    ]),
  );
}

/** `drover cluster compact`. */
export async function compact(client: ApiClient): Promise<void> {
  const members = await client.call<
    { Hostname: string; BytesBefore: number | null; BytesAfter: number | null }[]
  >('POST', '/cluster/compact');
  const size = (bytes: number | null): string => (bytes === null ? '' : bytesText(bytes));
  const rows = members.map((each) => [each.Hostname, size(each.BytesBefore), size(each.BytesAfter)]);
  process.stdout.write(formatTable(['NODE', 'BEFORE', 'AFTER'], rows));
}

function roleOf({ Role, Manages, IsLeader }: StatusView['Nodes'][number]): string {
  if (IsLeader) return 'leader';
  // between a promotion or demotion and its end
  if (Manages !== (Role === 'manager')) return Manages ? 'manager, to be worker' : 'to be manager';
  return Role;
}

function section(title: string, titles: readonly string[], rows: readonly (readonly string[])[]): void {
  if (rows.length === 0) return;
  process.stdout.write(`\n${title}\n${formatTable(titles, rows)}`);
}
