import { z } from 'zod';
import type { Channel } from '#cluster/transport/transport.ts';
import { forbidden, invalid, unavailable } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import { type CheckedCredentials, checkCredentials } from './certificate-files.ts';

/** A node with a certificate asks for its next one: a channel of this method, one {@link RenewRequest}, one {@link CertificateAnswer}. */
export const RENEW_METHOD = 'renew';

const Csr = z.string().max(8 * 1024);
const Pem = z.string().max(64 * 1024);
const Address = z.string().max(300);

/** The one message of who wants to join. */
export interface JoinRequest {
  readonly token: string;
  readonly csr: string;
  readonly hostname: string;
  /** `host:port` that other nodes are to reach it at; without it, or without a host, the manager takes the address that it sees. */
  readonly address?: string | undefined;
  /** False where the machine lacks what a manager needs. */
  readonly canManage?: boolean | undefined;
}

export const JoinRequest: z.ZodType<JoinRequest> = z.strictObject({
  token: z.string().max(200),
  csr: Csr,
  hostname: z.string().max(255),
  address: Address.optional(),
  canManage: z.boolean().optional(),
});

export interface RenewRequest {
  readonly csr: string;
}

export const RenewRequest: z.ZodType<RenewRequest> = z.strictObject({ csr: Csr });

/** What a manager answers to both. */
export interface CertificateAnswer {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly role: NodeRole;
  /** PEM: the node's certificate, and what leads from it to a root. */
  readonly certificate: string;
  /** PEM: every root that is trusted now. */
  readonly roots: string;
  /** `host:port` of the managers. */
  readonly managers: readonly string[];
  /** For managers: what the cluster's keys are sealed with, in the form of an unlock key. */
  readonly managerKey?: string | undefined;
  /** For managers of a locked swarm: what that key is sealed with on their disks. */
  readonly unlockKey?: string | undefined;
}

export const CertificateAnswer: z.ZodType<CertificateAnswer> = z.object({
  clusterId: z.string().max(64),
  nodeId: z.string().max(64),
  role: z.enum(['worker', 'manager']),
  certificate: Pem,
  roots: Pem,
  managers: z.array(Address).max(100),
  managerKey: z.string().max(64).optional(),
  unlockKey: z.string().max(64).optional(),
});

/** Sends the request to join and reads the answer. Throws what the manager refuses with, `unavailable` when it ends without one. */
export function requestJoin(channel: Channel, request: JoinRequest): Promise<CertificateAnswer> {
  return exchange(channel, request);
}

/** Sends the request for the next certificate and reads the answer. Throws as {@link requestJoin}. */
export function requestRenewal(channel: Channel, request: RenewRequest): Promise<CertificateAnswer> {
  return exchange(channel, request);
}

async function exchange(channel: Channel, request: JoinRequest | RenewRequest): Promise<CertificateAnswer> {
  try {
    await channel.send(request);
    return parseMessage(CertificateAnswer, await firstMessage(channel), 'answer of the manager');
  } finally {
    channel.close();
  }
}

/** The first message of a channel. Throws `unavailable` when it ends without one. */
export async function firstMessage(channel: Channel): Promise<unknown> {
  for await (const message of channel.messages) return message;
  throw unavailable('the other side ended without a message');
}

/** Throws `invalid`, saying what is wrong with `what`. */
export function parseMessage<T>(schema: z.ZodType<T>, message: unknown, what: string): T {
  const result = schema.safeParse(message);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(`invalid ${what}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not readable'}`);
}

/**
 * What a node keeps of an answer: its credentials, checked. Throws as {@link checkCredentials}, and `forbidden` when the certificate says
 * something else than the answer, or when `own` (who the node is already) is somebody else.
 */
export function credentialsOf(
  answer: CertificateAnswer,
  key: string,
  nowMs: number,
  own?: { readonly nodeId: string; readonly clusterId: string },
): CheckedCredentials {
  const { certificate, roots } = answer;
  const credentials = checkCredentials({ key, certificate, roots }, nowMs);
  const { identity } = credentials;
  const isAsAnswered =
    identity.nodeId === answer.nodeId &&
    identity.role === answer.role &&
    identity.clusterId === answer.clusterId;
  const isOwn = own === undefined || (own.nodeId === identity.nodeId && own.clusterId === identity.clusterId);
  if (!isAsAnswered || !isOwn) throw forbidden('the manager gave a certificate for somebody else');
  return credentials;
}
