import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { TaskLogRecord, TaskLogRequest } from '#cluster/control/swarm-membership.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewListener } from '#cluster/state/view-follower.ts';
import type { Channel, Transport } from '#cluster/transport/transport.ts';
import type { LogOptions } from '#engine/containers/container-engine.ts';
import { DroverError, forbidden, kindOf, messageOf } from '#model/errors.ts';
import { stateRank, type TaskRecord } from '#model/task.ts';

/** A manager asks a node for what a task of it wrote: one request, then records until the end. */
const LOGS_METHOD = 'task-logs';

/** Where a node has its tasks' logs. */
export interface TaskLogSource {
  /** `not-found` for a task that has no container here. */
  taskLogs(taskId: string, o: LogOptions): AsyncIterable<TaskLogRecord>;
}

interface WireRequest {
  readonly taskId: string;
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly tail: number | 'all';
}

const NANOSECONDS = z.string().regex(/^\d{1,20}$/);

const REQUEST: z.ZodType<WireRequest> = z.object({
  taskId: z.string().max(64),
  follow: z.boolean(),
  stdout: z.boolean(),
  stderr: z.boolean(),
  since: NANOSECONDS.optional(),
  until: NANOSECONDS.optional(),
  tail: z.union([z.literal('all'), z.int().min(0)]),
});

const RECORD: z.ZodType<{ stream: 'stdout' | 'stderr'; time: string; data: string }> = z.object({
  stream: z.enum(['stdout', 'stderr']),
  time: NANOSECONDS,
  data: z.string(),
});

/** Serves the logs of this node's tasks to managers. */
export function serveTaskLogs(transport: Transport, source: TaskLogSource): void {
  transport.serve(LOGS_METHOD, async (channel, peer) => {
    if (peer?.role !== 'manager') throw forbidden('only managers read logs of tasks');
    const o = parseMessage(REQUEST, await firstMessage(channel), 'request for logs');
    const records = source.taskLogs(o.taskId, {
      ...{ follow: o.follow, stdout: o.stdout, stderr: o.stderr, tail: o.tail, signal: channel.closed },
      ...(o.since === undefined ? {} : { sinceNs: BigInt(o.since) }),
      ...(o.until === undefined ? {} : { untilNs: BigInt(o.until) }),
    });
    for await (const { stream, timeNs, data } of records) {
      await channel.send({ stream, time: String(timeNs), data: data.toString('base64') });
    }
  });
}

/**
 * What the tasks of a request wrote, as it comes from their nodes; those of one task in order. With `follow` also of tasks that come later,
 * until the request's signal aborts. A node that does not answer is a line of its own, so that the others' are not lost.
 */
export async function* readTaskLogs(o: {
  view: ClusterView;
  listen: (listener: ViewListener, signal: AbortSignal) => void;
  transport: Transport;
  request: TaskLogRequest;
}): AsyncGenerator<TaskLogRecord> {
  const { view, request } = o;
  const ending = new AbortController();
  const signal = AbortSignal.any([request.signal, ending.signal]);
  const queue: { record: TaskLogRecord; taken: () => void }[] = [];
  const reading = new Set<string>();
  let open = 0;
  let wake: (() => void) | undefined;
  const notify = (): void => wake?.();
  const begin = (task: TaskRecord): void => {
    if (reading.has(task.ID) || !hasLog(task)) return;
    reading.add(task.ID);
    open++;
    // a reader that is slow holds up the writers
    const offer = (record: TaskLogRecord): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      queue.push({ record, taken: resolve });
      notify();
      return promise;
    };
    pump(o, task, signal, offer)
      .catch((error: unknown) => offer(failure(task, error)))
      .finally(() => {
        open--;
        notify();
      });
  };
  const tasks = (): TaskRecord[] => tasksOf(view, request.target);
  for (const task of tasks()) begin(task);
  if (request.follow) {
    o.listen((changes) => {
      if (changes.some(({ table }) => table === 'task')) for (const task of tasks()) begin(task);
    }, signal);
  }
  signal.addEventListener('abort', notify, { once: true });
  try {
    for (;;) {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        yield next.record;
        next.taken();
      }
      if (signal.aborted || (open === 0 && !request.follow)) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      await promise;
    }
  } finally {
    ending.abort();
    for (const { taken } of queue) taken();
  }
}

async function pump(
  o: { view: ClusterView; transport: Transport; request: TaskLogRequest },
  task: TaskRecord,
  signal: AbortSignal,
  take: (record: TaskLogRecord) => Promise<void>,
): Promise<void> {
  const node = o.view.get('node', task.NodeID);
  if (node === undefined) return;
  const channel = await o.transport.open(node.address, LOGS_METHOD, signal, task.NodeID);
  try {
    await ask(channel, o.request, task.ID);
    for await (const message of channel.messages) {
      const { stream, time, data } = parseMessage(RECORD, message, 'line of a log');
      await take({
        ...{ stream, timeNs: BigInt(time), data: Buffer.from(data, 'base64') },
        ...{ nodeId: task.NodeID, serviceId: task.ServiceID, taskId: task.ID },
      });
    }
  } catch (error) {
    // its container is gone, and what it wrote with it
    if (kindOf(error) !== 'not-found' && !signal.aborted) throw error;
  } finally {
    channel.close();
  }
}

async function ask(channel: Channel, request: TaskLogRequest, taskId: string): Promise<void> {
  const { follow, stdout, stderr, sinceNs, untilNs, tail } = request;
  await channel.send({
    ...{ taskId, follow, stdout, stderr, tail },
    ...(sinceNs === undefined ? {} : { since: String(sinceNs) }),
    ...(untilNs === undefined ? {} : { until: String(untilNs) }),
  } satisfies WireRequest);
}

function tasksOf(view: ClusterView, target: TaskLogRequest['target']): TaskRecord[] {
  if ('serviceId' in target) return [...view.tasksOfService(target.serviceId)];
  const task = view.get('task', target.taskId);
  return task === undefined ? [] : [task];
}

/** A container that has not started writes nothing. */
function hasLog(task: TaskRecord): boolean {
  return task.NodeID !== '' && stateRank(task.Status.State) >= stateRank('starting');
}

function failure(task: TaskRecord, error: unknown): TaskLogRecord {
  const reason = error instanceof DroverError ? error.message : messageOf(error);
  return {
    stream: 'stderr',
    timeNs: 0n,
    data: Buffer.from(`no log of this task: ${reason}\n`),
    ...{ nodeId: task.NodeID, serviceId: task.ServiceID, taskId: task.ID },
  };
}
