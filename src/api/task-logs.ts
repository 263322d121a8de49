import { once } from 'node:events';
import type { TaskLogRecord, TaskLogRequest } from '#cluster/control/swarm-membership.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { formatNanoseconds } from './log-line.ts';
import { booleanOf, nanosecondsOf } from './query.ts';
import type { Route } from './route.ts';
import { frame, streamMediaType } from './stream-frame.ts';

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
  const { query, signal } = call;
  const stdout = booleanOf(query, 'stdout');
  const stderr = booleanOf(query, 'stderr');
  if (!stdout && !stderr) throw invalid('Bad parameters: you must choose at least one stream');
  const tail = query.get('tail') ?? '';
  const records = call.parts.cluster.logs({
    target,
    follow: booleanOf(query, 'follow'),
    stdout,
    stderr,
    sinceNs: nanosecondsOf(query, 'since'),
    untilNs: nanosecondsOf(query, 'until'),
    tail: /^\d{1,15}$/.test(tail) ? Number(tail) : 'all',
    signal,
  });
  const timestamps = booleanOf(query, 'timestamps');
  const details = booleanOf(query, 'details');
  const response = call.startStream(streamMediaType({ tty, version: call.version }));
  for await (const record of records) {
    const line = taskLogLine(record, { timestamps, details });
    if (!response.write(tty ? line : frame(record.stream, line))) await once(response, 'drain', { signal });
  }
  response.end();
}

/** The line behind its time and behind where it is from, each followed by a blank, in the form that `docker service logs` reads. */
export function taskLogLine(record: TaskLogRecord, o: { timestamps: boolean; details: boolean }): Buffer {
  const time = o.timestamps ? `${formatNanoseconds(record.timeNs)} ` : '';
  const places = [
    `com.docker.swarm.node.id=${record.nodeId}`,
    `com.docker.swarm.service.id=${record.serviceId}`,
    `com.docker.swarm.task.id=${record.taskId}`,
  ];
  const prefix = `${time}${o.details ? `${places.join(',')} ` : ''}`;
  return prefix === '' ? record.data : Buffer.concat([Buffer.from(prefix), record.data]);
}
