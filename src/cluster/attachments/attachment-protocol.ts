import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { AttachmentControl, AttachmentRequest } from '#cluster/control/attachment-control.ts';
import { askManager, type ManagerAccess } from '#cluster/transport/manager-question.ts';
import type { ChannelHandler } from '#cluster/transport/transport.ts';
import { fromWire, toWire } from '#cluster/transport/wire-error.ts';
import type { Clock } from '#control/clock.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { forbidden, kindOf, unavailable } from '#model/errors.ts';

/** A node asks a manager for its own containers' places on networks: one {@link Question}, one answer. */
export const ATTACHMENTS_METHOD = 'attachments';

/** Questions of one node that are answered at once, and that write in a window of so many milliseconds. */
const MOST_AT_ONCE = 32;
const MOST_WRITES = 200;
const WINDOW_MS = 10_000;
/** Places that are given back by one question. */
export const MOST_RELEASED = 200;

type Question =
  /** Whether places can be given. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'find'; readonly network: string }
  | ({ readonly kind: 'attach' } & AttachmentRequest)
  | { readonly kind: 'release'; readonly ids: readonly string[] };

/** A node's words go into records: short, and nothing that a terminal takes for more than text. */
const NAME = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\p{Cc}\s]*$/u);

const QUESTION: z.ZodType<Question> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('find'), network: NAME }),
  z.object({
    ...{ kind: z.literal('attach'), network: NAME },
    containerId: z.string().regex(/^[0-9a-f]{64}$/),
    names: z.array(NAME).min(1).max(64),
    address: z.ipv4().optional(),
  }),
  z.object({ kind: z.literal('release'), ids: z.array(z.string().max(64)).max(MOST_RELEASED) }),
]);

/** What a manager does for nodes. */
export type AttachmentKeeper = Pick<AttachmentControl, 'isReady' | 'find' | 'attach' | 'release'>;

/** Where a container is. */
export interface GivenPlace {
  readonly id: string;
  readonly networkId: string;
  /** CIDR. */
  readonly address: string;
}

const NETWORK: z.ZodType<ClusterNetworkRecord> = z.object({
  ...{ ID: z.string(), CreatedAt: z.string(), UpdatedAt: z.string(), Name: z.string() },
  Driver: z.literal('overlay'),
  Labels: z.record(z.string(), z.string()),
  Options: z.record(z.string(), z.string()),
  ...{ Internal: z.boolean(), Attachable: z.boolean(), Ingress: z.boolean() },
  EncryptedOption: z.boolean(),
  IPAM: z.object({
    Driver: z.string(),
    Options: z.record(z.string(), z.string()).nullable(),
    Config: z.array(
      z.object({
        Subnet: z.string(),
        Gateway: z.string().exactOptional(),
        IPRange: z.string().exactOptional(),
        AuxiliaryAddresses: z.record(z.string(), z.string()).exactOptional(),
      }),
    ),
  }),
  vni: z.int(),
});

const PLACE: z.ZodType<GivenPlace> = z.object({ id: z.string(), networkId: z.string(), address: z.string() });
/** A manager that refuses has answered: no other one is asked. */
const refusable = <T>(answer: z.ZodType<T>): z.ZodType<{ refusal: unknown } | { answer: T }> =>
  z.union([z.object({ refusal: z.unknown().refine((value) => value !== undefined) }), z.object({ answer })]);
const NOTHING: z.ZodType<object> = z.object({});

/** A node's way to ask. Each throws what a manager refuses with, and `unavailable` when none answers. */
export class AttachmentQuestions {
  readonly #access: ManagerAccess;

  constructor(access: ManagerAccess) {
    this.#access = access;
  }

  async ready(signal: AbortSignal): Promise<void> {
    await this.#ask({ kind: 'ready' }, NOTHING, signal);
  }

  find(network: string, signal: AbortSignal): Promise<ClusterNetworkRecord> {
    return this.#ask({ kind: 'find', network }, NETWORK, signal);
  }

  attach(request: AttachmentRequest, signal: AbortSignal): Promise<GivenPlace> {
    return this.#ask({ kind: 'attach', ...request }, PLACE, signal);
  }

  async release(ids: readonly string[], signal: AbortSignal): Promise<void> {
    for (let from = 0; from < ids.length; from += MOST_RELEASED)
      await this.#ask({ kind: 'release', ids: ids.slice(from, from + MOST_RELEASED) }, NOTHING, signal);
  }

  async #ask<T>(request: Question, answer: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    const question = { method: ATTACHMENTS_METHOD, request, answer: refusable(answer) };
    const said = await askManager(this.#access, question, signal);
    if ('refusal' in said) throw fromWire(said.refusal);
    return said.answer;
  }
}

/**
 * Serves {@link ATTACHMENTS_METHOD}; `attachments` gives undefined where this node is no manager. A node is heard about its own containers
 * only, and not more often than it could start some.
 */
export function attachmentsHandler(
  attachments: () => AttachmentKeeper | undefined,
  clock: Clock,
): ChannelHandler {
  const limit = new QuestionLimit(clock);
  return async (channel, peer) => {
    if (peer === undefined) throw forbidden('only nodes of the cluster have containers on its networks');
    const question = parseMessage(QUESTION, await firstMessage(channel), 'question about attachments');
    const control = attachments();
    if (control === undefined) throw unavailable('this node is no manager');
    using _ = limit.begin(peer.nodeId, question.kind === 'attach' || question.kind === 'release');
    try {
      await channel.send({ answer: await answerTo(control, peer.nodeId, question) });
    } catch (error) {
      // what another manager may do better is no refusal
      if (kindOf(error) === 'unavailable' || kindOf(error) === 'cancelled') throw error;
      await channel.send({ refusal: toWire(error) });
    }
  };
}

async function answerTo(control: AttachmentKeeper, nodeId: string, question: Question): Promise<object> {
  switch (question.kind) {
    case 'ready':
      if (!control.isReady) throw unavailable('nobody leads the cluster at the moment');
      return {};
    case 'find':
      return control.find(question.network);
    case 'attach': {
      const { ID: id, networkId, address } = await control.attach(nodeId, question);
      return { id, networkId, address };
    }
    case 'release':
      await control.release(nodeId, question.ids);
      return {};
  }
}

/** How much one node may ask: what it does beyond that is its own affair, and no other's. */
class QuestionLimit {
  readonly #clock: Clock;
  readonly #nodes = new Map<string, { atOnce: number; writes: number; sinceMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(nodeId: string, isWrite: boolean): Disposable {
    const now = this.#clock.monotonicMs();
    const node = this.#nodes.get(nodeId) ?? { atOnce: 0, writes: 0, sinceMs: now };
    this.#nodes.set(nodeId, node);
    if (now - node.sinceMs >= WINDOW_MS) Object.assign(node, { writes: 0, sinceMs: now });
    if (node.atOnce >= MOST_AT_ONCE || (isWrite && node.writes >= MOST_WRITES))
      throw unavailable('this node attaches too many containers at once', {
        hint: `Try again in ${WINDOW_MS / 1000} seconds.`,
      });
    node.atOnce++;
    if (isWrite) node.writes++;
    return { [Symbol.dispose]: () => void node.atOnce-- };
  }
}
