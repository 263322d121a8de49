import type { X509Certificate } from 'node:crypto';
import { forbidden } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';

/** Who a node is, by the subject of its certificate: CN, OU and O as in Swarm. */
export interface NodeIdentity {
  readonly nodeId: string;
  readonly role: NodeRole;
  readonly clusterId: string;
}

const ID = /^[0-9a-z]{25}$/;
const ROLES: Readonly<Record<string, NodeRole>> = { 'swarm-manager': 'manager', 'swarm-worker': 'worker' };

/** Whether `id` has the form of the IDs that nodes and clusters have. */
export function isId(id: string): boolean {
  return ID.test(id);
}

/** The organizational unit that stands for a role. */
export function unitOf(role: NodeRole): string {
  return `swarm-${role}`;
}

/**
 * The identity in a node's certificate, whose signature somebody else has checked. Throws `forbidden` for a subject that has not exactly
 * one CN, OU and O of the right form: what is unclear names nobody.
 */
export function identityOf(certificate: X509Certificate): NodeIdentity {
  // by attribute, for the text of a subject does not tell a value with a line break from two values
  const subject: unknown = certificate.toLegacyObject().subject;
  const { CN, OU, O, ...others } = attributesOf(subject);
  const role = typeof OU === 'string' && Object.hasOwn(ROLES, OU) ? ROLES[OU] : undefined;
  if (typeof CN !== 'string' || !isId(CN)) throw notOfANode('its CN is no node ID');
  if (role === undefined) throw notOfANode('its OU is no role');
  if (typeof O !== 'string' || !isId(O)) throw notOfANode('its O is no cluster ID');
  if (Object.keys(others).length > 0) throw notOfANode('its subject says more than a node’s');
  return { nodeId: CN, role, clusterId: O };
}

function attributesOf(subject: unknown): Record<string, unknown> {
  return typeof subject === 'object' && subject !== null ? { ...subject } : {};
}

function notOfANode(why: string): Error {
  return forbidden(`the certificate is not a node's: ${why}`);
}
