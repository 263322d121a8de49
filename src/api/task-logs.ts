import type { TaskLogRecord, TaskLogRequest } from '#cluster/control/swarm-membership.ts';
import type { Call } from './call.ts';
import { formatNanoseconds } from './log-line.ts';
import { type LineDetails, logOptionsOf, sendLog } from './log-response.ts';
import type { Route } from './route.ts';

/** What the tasks of a service write, on whichever node. */
export const taskLogRoutes: readonly Route[] = [
  { method: 'GET', path: '/services/{id}/logs', operation: 'ServiceLogs', handler: serviceLogs },
  { method: 'GET', path: '/tasks/{id}/logs', operation: 'TaskLogs', handler: taskLogs },
];

async function serviceLogs(call: Call): Promise<void> {
  const { record } = call.parts.cluster.control().services.inspect(call.param('id'));
  const tty = record.Spec.TaskTemplate.ContainerSpec.TTY ?? false;
  await sendLogs(call, { serviceId: record.ID }, tty);
}

async function taskLogs(call: Call): Promise<void> {
  const { record, template } = call.parts.cluster.control().tasks.inspect(call.param('id'));
  await sendLogs(call, { taskId: record.ID }, template?.ContainerSpec.TTY ?? false);
}

async function sendLogs(call: Call, target: TaskLogRequest['target'], tty: boolean): Promise<void> {
  const records = call.parts.cluster.logs({ target, ...logOptionsOf(call) });
  await sendLog(call, { tty, records, lineOf: taskLogLine });
}

/** The line behind its time and behind where it is from, each followed by a blank, in the form that `docker service logs` reads. */
export function taskLogLine(record: TaskLogRecord, o: LineDetails): Buffer {
  const time = o.timestamps ? `${formatNanoseconds(record.timeNs)} ` : '';
  const places = [
    `com.docker.swarm.node.id=${record.nodeId}`,
    `com.docker.swarm.service.id=${record.serviceId}`,
    `com.docker.swarm.task.id=${record.taskId}`,
  ];
  const prefix = `${time}${o.details ? `${places.join(',')} ` : ''}`;
  return prefix === '' ? record.data : Buffer.concat([Buffer.from(prefix), record.data]);
}
