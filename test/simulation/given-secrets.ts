import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import type { LeaderMessage } from '#cluster/agent/session-messages.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { isTerminal } from '#model/task.ts';

/** No node is told a secret that none of its tasks uses. */
export function* checkToldTasks(truth: ClusterView, nodeId: string, message: unknown): Generator<string> {
  const said = message as LeaderMessage;
  if (said.kind !== 'tasks') return;
  for (const task of said.tasks) {
    yield* checkGiven(truth, nodeId, task);
    const isEnding = task.desiredState === 'shutdown' || task.desiredState === 'remove';
    if (task.secrets.length > 0 && (isEnding || isTerminal(task.state)))
      yield `${nodeId} was given secrets for task ${task.id}, which is not to run any more`;
  }
}

/** What is given for a task is what its template names, all of it, on the node that it is for. */
export function* checkGiven(truth: ClusterView, nodeId: string, task: AssignedTask): Generator<string> {
  if (task.nodeId !== nodeId) yield `${nodeId} was given task ${task.id}, which is of ${task.nodeId}`;
  for (const { id, data } of task.configs) {
    const config = truth.get('config', id);
    if (config !== undefined && config.Spec.Data !== data)
      yield `config ${id} came to ${nodeId} as something else`;
  }
  const named = (task.spec.ContainerSpec.Secrets ?? []).map(({ SecretID }) => SecretID);
  for (const { id, data } of task.secrets) {
    if (!named.includes(id)) yield `${nodeId} was given secret ${id}, which task ${task.id} does not use`;
    const secret = truth.get('secret', id);
    if (secret !== undefined && secret.sealed !== data)
      yield `secret ${id} came to ${nodeId} as something else`;
  }
}
