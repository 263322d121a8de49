import { BlockList, isIP } from 'node:net';
import { invalid } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import { architectureName } from './platform.ts';

export type ConstraintOperator = '==' | '!=';

/** One of a placement's constraints, such as `node.labels.zone == a`. */
export interface Constraint {
  /** As it was asked. */
  readonly text: string;
  readonly key: string;
  readonly operator: ConstraintOperator;
  readonly value: string;
  readonly holds: (node: NodeRecord) => boolean;
}

/** What a node says under a key; empty for what it does not say. */
export type AttributeReader = (node: NodeRecord) => string;

const OPERATORS: readonly ConstraintOperator[] = ['==', '!='];
const KEY = /^[a-z_][a-z0-9\-_.]+$/i;
const VALUE = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;
const NODE_LABELS = 'node.labels.';
const ENGINE_LABELS = 'engine.labels.';

const ATTRIBUTES: ReadonlyMap<string, AttributeReader> = new Map<string, AttributeReader>([
  ['node.id', (node) => node.ID],
  ['node.hostname', (node) => node.Description?.Hostname ?? ''],
  ['node.role', (node) => node.Spec.Role],
  ['node.ip', (node) => node.Status.Addr],
  ['node.platform.os', (node) => node.Description?.Platform.OS ?? ''],
  ['node.platform.arch', (node) => node.Description?.Platform.Architecture ?? ''],
]);

/**
 * Reads constraints in Docker's language. Throws `invalid` with Docker's texts; a key that no node has anything under is
 * refused too, for nothing would ever meet it.
 */
export function parseConstraints(texts: readonly string[]): Constraint[] {
  return texts.map(parseConstraint);
}

function parseConstraint(text: string): Constraint {
  const operator = OPERATORS.find((candidate) => text.includes(candidate));
  if (operator === undefined) throw invalid(`constraint expected one operator from ${OPERATORS.join(', ')}`);
  const at = text.indexOf(operator);
  const key = text.slice(0, at).trim();
  const value = text.slice(at + operator.length).trim();
  const read = KEY.test(key) ? attributeReader(key) : undefined;
  if (read === undefined) {
    const hint = `keys are ${[...ATTRIBUTES.keys()].join(', ')}, ${NODE_LABELS}NAME and ${ENGINE_LABELS}NAME`;
    throw invalid(`key '${key}' is invalid`, { hint });
  }
  if (!VALUE.test(value)) throw invalid(`value '${value}' is invalid`);
  return { text, key, operator, value, holds: test(key.toLowerCase(), operator, value, read) };
}

/** How what a key stands for is read of a node; undefined for a key that stands for nothing. Labels' names are case-sensitive. */
export function attributeReader(key: string): AttributeReader | undefined {
  const small = key.toLowerCase();
  if (small.startsWith(NODE_LABELS) && key.length > NODE_LABELS.length) {
    const label = key.slice(NODE_LABELS.length);
    return (node) => node.Spec.Labels?.[label] ?? '';
  }
  if (small.startsWith(ENGINE_LABELS) && key.length > ENGINE_LABELS.length) {
    const label = key.slice(ENGINE_LABELS.length);
    return (node) => node.Description?.Engine.Labels[label] ?? '';
  }
  return ATTRIBUTES.get(small);
}

/** The name of the node's label that a key is about. */
export function nodeLabelOf(key: string): string | undefined {
  return key.toLowerCase().startsWith(NODE_LABELS) ? key.slice(NODE_LABELS.length) : undefined;
}

function test(
  key: string,
  operator: ConstraintOperator,
  value: string,
  read: AttributeReader,
): Constraint['holds'] {
  const wanted = operator === '==';
  if (key === 'node.ip') {
    const addresses = addressSet(value);
    // an address that cannot be read is met by no node, whatever the operator
    if (addresses === undefined) return () => false;
    return (node) => addresses(read(node)) === wanted;
  }
  if (key === 'node.platform.arch') {
    const name = architectureName(value);
    return (node) => (architectureName(read(node)) === name) === wanted;
  }
  const small = value.toLowerCase();
  return (node) => (read(node).toLowerCase() === small) === wanted;
}

/** Tells whether an address is the one, or in the network, that is written; undefined where it is neither. */
function addressSet(text: string): ((address: string) => boolean) | undefined {
  const [base = '', prefix, ...rest] = text.split('/');
  const version = isIP(base);
  if (version === 0 || rest.length > 0) return undefined;
  const family = version === 6 ? 'ipv6' : 'ipv4';
  const bits = version === 6 ? 128 : 32;
  const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : bits + 1;
  if (length > bits) return undefined;
  const block = new BlockList();
  block.addSubnet(base, length, family);
  return (address) => isIP(address) === version && block.check(address, family);
}
