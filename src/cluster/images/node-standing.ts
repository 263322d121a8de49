import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import { askManager, type ManagerAccess } from '#cluster/transport/manager-question.ts';
import type { ChannelHandler } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { forbidden, unavailable } from '#model/errors.ts';

/** A node asks a manager whether another one is of the cluster still: its certificate says only that it was. */
export const STANDING_METHOD = 'node-standing';

/** How long a yes is believed. */
const BELIEVED_MS = 30_000;
const MOST_BELIEVED = 10_000;

const REQUEST: z.ZodType<{ nodeId: string }> = z.object({ nodeId: z.string().max(64) });
const ANSWER: z.ZodType<{ isMember: boolean }> = z.object({ isMember: z.boolean() });

/** Serves {@link STANDING_METHOD}; `isMember` gives undefined where this node is no manager. */
export function standingHandler(isMember: (nodeId: string) => boolean | undefined): ChannelHandler {
  return async (channel, peer) => {
    if (peer === undefined) throw forbidden('only nodes of the cluster ask for others');
    const { nodeId } = parseMessage(REQUEST, await firstMessage(channel), 'question for a node');
    const answer = isMember(nodeId);
    if (answer === undefined) throw unavailable('this node is no manager');
    await channel.send({ isMember: answer });
  };
}

/** Who is of the cluster, for a node that does not know it: asked of a manager, and a yes remembered for half a minute. */
export class NodeStanding {
  readonly #access: ManagerAccess;
  readonly #clock: Clock;
  /** When each was last said to be in. */
  readonly #members = new Map<string, number>();

  constructor(access: ManagerAccess, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
  }

  /** Throws `forbidden` for a node that was removed, `unavailable` when no manager answers. */
  async check(nodeId: string, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (now - (this.#members.get(nodeId) ?? Number.NEGATIVE_INFINITY) < BELIEVED_MS) return;
    this.#members.delete(nodeId);
    const question = { method: STANDING_METHOD, request: { nodeId }, answer: ANSWER };
    const { isMember } = await askManager(this.#access, question, signal);
    if (!isMember) throw forbidden(`node ${nodeId} is not of this cluster any more`);
    if (this.#members.size >= MOST_BELIEVED) this.#members.clear();
    this.#members.set(nodeId, now);
  }
}
