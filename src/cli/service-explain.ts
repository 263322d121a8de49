import type { ApiClient } from './api-client.ts';
import { formatTable } from './table.ts';

interface ExplainedNode {
  ID: string;
  Hostname: string;
  Refusals: { Filter: string; Reason: string; Remedy: string }[];
  Score: { serviceTasks: number; load: number; failures: number; hasImage: boolean } | null;
}

interface ExplainedTask {
  ID: string;
  Name: string;
  State: string;
  Error: string;
  NodeID: string | null;
  Summary: string;
  Remedies: string[];
  Nodes: ExplainedNode[];
}

/** `drover service explain`. */
export async function printExplanation(
  client: ApiClient,
  service: string,
  o: { format: 'table' | 'json'; nodes: boolean },
): Promise<void> {
  const explained = await client.call<{ Tasks: ExplainedTask[] }>(
    'GET',
    `/services/${encodeURIComponent(service)}/explain`,
  );
  if (o.format === 'json') {
    console.log(JSON.stringify(explained, undefined, 2));
    return;
  }
  if (explained.Tasks.length === 0) console.log(`${service} wants no task.`);
  for (const task of explained.Tasks) {
    console.log(`${task.Name}  ${task.State}  ${task.Summary}`);
    if (task.Error !== '') console.log(`  last error: ${task.Error}`);
    if (task.NodeID === null || o.nodes) printNodes(task);
    for (const remedy of task.Remedies) console.log(`  would help: ${remedy}`);
  }
}

function printNodes({ Nodes, NodeID }: ExplainedTask): void {
  const rows = Nodes.map((node) => [
    `  ${node.Hostname}${node.ID === NodeID ? ' *' : ''}`,
    node.Refusals.length === 0 ? 'yes' : 'no',
    node.Refusals.length === 0
      ? scoreText(node)
      : node.Refusals.map(({ Filter, Reason }) => `${Filter}: ${Reason}`).join('; '),
  ]);
  process.stdout.write(formatTable(['  NODE', 'CAN TAKE IT', 'BECAUSE'], rows));
}

function scoreText({ Score }: ExplainedNode): string {
  if (Score === null) return '';
  const parts = [`${Score.serviceTasks} tasks of the service there`, `${Score.load} in all`];
  if (Score.failures > 0) parts.push(`${Score.failures} failures lately`);
  if (Score.hasImage) parts.push('has the image');
  return parts.join(', ');
}
