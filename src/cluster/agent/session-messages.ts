import { z } from 'zod';
import { invalid } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeDescription, NodeRole } from '#model/node.ts';
import { TASK_STATES, type TaskStatus } from '#model/task.ts';
import type { AssignedTask } from './assigned-task.ts';

/** The method of {@link Transport} that an agent opens to the leader, and keeps open. */
export const SESSION_METHOD = 'session';

/** What the leader says to an agent. */
export type LeaderMessage =
  /** Not the leader: it is there. The channel ends. */
  | { readonly kind: 'redirect'; readonly address: string }
  | {
      readonly kind: 'settings';
      /** How often to send a heartbeat. */
      readonly heartbeatMs: number;
      /** How long after the last heartbeat that was answered single writers are ended. */
      readonly fencingMs: number;
      /** What the node is to be. */
      readonly role: NodeRole;
      /** Where managers are, to come back to. */
      readonly managers: readonly string[];
      /** The roots that are trusted now, the one that signs first (PEM): a node that has others renews its certificate. */
      readonly roots?: string;
    }
  /** The answer to a heartbeat; only sent while nobody else can lead. */
  | { readonly kind: 'heartbeat'; readonly sent: number }
  /** Tasks that are new or changed, and tasks that are deleted. */
  | { readonly kind: 'tasks'; readonly tasks: readonly AssignedTask[]; readonly removed: readonly string[] }
  /** These are all: whatever else is here goes. Sent once, after the first tasks. */
  | { readonly kind: 'complete'; readonly taskIds: readonly string[] }
  /** The networks as of a revision; to be answered with `applied`. */
  | { readonly kind: 'networks'; readonly revision: number; readonly plan: NetworkPlan };

/** What an agent says to the leader. */
export type AgentMessage =
  | { readonly kind: 'hello'; readonly address: string; readonly description: NodeDescription }
  | { readonly kind: 'description'; readonly description: NodeDescription }
  | { readonly kind: 'heartbeat'; readonly sent: number }
  | { readonly kind: 'status'; readonly updates: readonly { taskId: string; status: TaskStatus }[] }
  | { readonly kind: 'applied'; readonly revision: number }
  /** These tasks end with the node's lease from now on; the number is that of {@link AssignedTask.confirmFence}. */
  | { readonly kind: 'fenced'; readonly tasks: readonly FencedTask[] };

export interface FencedTask {
  readonly taskId: string;
  readonly number: number;
}

/** A node's own words are kept to what fits into a record. */
const TEXT = z.string().max(4096);
const SHORT_TEXT = z.string().max(512);
const GENERIC = z.union([
  z.object({ NamedResourceSpec: z.object({ Kind: SHORT_TEXT, Value: SHORT_TEXT }) }),
  z.object({ DiscreteResourceSpec: z.object({ Kind: SHORT_TEXT, Value: z.int().min(0) }) }),
]);

const DESCRIPTION = z.object({
  Hostname: SHORT_TEXT,
  Platform: z.object({ Architecture: SHORT_TEXT, OS: SHORT_TEXT }),
  Resources: z.object({
    NanoCPUs: z.int().min(0),
    MemoryBytes: z.int().min(0),
    GenericResources: z.array(GENERIC).max(1000).exactOptional(),
  }),
  Engine: z.object({
    EngineVersion: SHORT_TEXT,
    Labels: z.record(SHORT_TEXT, TEXT),
    Plugins: z.array(z.object({ Type: SHORT_TEXT, Name: SHORT_TEXT })).max(100),
  }),
  TLSInfo: z
    .object({ TrustRoot: z.string().max(65_536), CertIssuerSubject: TEXT, CertIssuerPublicKey: TEXT })
    .exactOptional(),
  images: z.array(SHORT_TEXT).max(1000).exactOptional(),
  volumes: z.array(SHORT_TEXT).max(1000).exactOptional(),
  encryption: z
    .object({ problem: SHORT_TEXT.exactOptional(), salts: z.array(z.hex().length(32)).max(256) })
    .exactOptional(),
});

const PORT = z.object({
  Name: SHORT_TEXT.exactOptional(),
  Protocol: z.enum(['tcp', 'udp', 'sctp']).exactOptional(),
  TargetPort: z.int().min(0).max(65_535),
  PublishedPort: z.int().min(0).max(65_535).exactOptional(),
  PublishMode: z.enum(['ingress', 'host']).exactOptional(),
});

const STATUS = z.object({
  Timestamp: SHORT_TEXT,
  State: z.enum(TASK_STATES),
  Message: TEXT,
  Err: TEXT.exactOptional(),
  startedAt: SHORT_TEXT.exactOptional(),
  ContainerStatus: z
    .object({ ContainerID: SHORT_TEXT, PID: z.int().min(0), ExitCode: z.int() })
    .exactOptional(),
  PortStatus: z.object({ Ports: z.array(PORT).max(1000).exactOptional() }).exactOptional(),
});

const AGENT_MESSAGE = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('hello'), address: SHORT_TEXT, description: DESCRIPTION }),
  z.object({ kind: z.literal('description'), description: DESCRIPTION }),
  z.object({ kind: z.literal('heartbeat'), sent: z.number() }),
  z.object({
    kind: z.literal('status'),
    updates: z.array(z.object({ taskId: SHORT_TEXT, status: STATUS })).max(10_000),
  }),
  z.object({ kind: z.literal('applied'), revision: z.int().min(0) }),
  z.object({
    kind: z.literal('fenced'),
    tasks: z.array(z.object({ taskId: SHORT_TEXT, number: z.int().min(0) })).max(10_000),
  }),
]);

/** What a node sent, if it is a message; `invalid` otherwise. Nodes are not believed, only heard. */
export function parseAgentMessage(message: unknown): AgentMessage {
  const parsed = AGENT_MESSAGE.safeParse(message);
  if (!parsed.success) throw invalid(`the agent sent what is no message: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
