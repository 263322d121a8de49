import type { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import { messageOf, unavailable } from '#model/errors.ts';

/** Where a node finds its managers. */
export interface ManagerAccess {
  readonly transport: Transport;
  /** `host:port` of those that it knows of. */
  readonly managers: () => readonly string[];
}

/**
 * One question, one answer, of the first manager that gives one; `unavailable` with the last one's reason when none does, `cancelled` when
 * `signal` aborts.
 */
export async function askManager<T>(
  access: ManagerAccess,
  question: { readonly method: string; readonly request: object; readonly answer: z.ZodType<T> },
  signal: AbortSignal,
): Promise<T> {
  let failure: unknown = 'none is known';
  for (const address of access.managers()) {
    try {
      const channel = await access.transport.open(address, question.method, signal);
      try {
        await channel.send(question.request);
        return parseMessage(question.answer, await firstMessage(channel), 'answer of a manager');
      } finally {
        channel.close();
      }
    } catch (error) {
      if (signal.aborted) throw error;
      failure = error;
    }
  }
  throw unavailable(`no manager answers: ${messageOf(failure)}`, { cause: failure });
}
