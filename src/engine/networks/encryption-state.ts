import type { ActualXfrmState, XfrmPolicy, XfrmState } from '#linux/xfrm-messages.ts';
import type { NetworkPlan, PlannedEncryption, PlannedKey } from '#model/network-plan.ts';
import { directionKey } from './encryption-keys.ts';

/** By it states and policies of ours are told from others'. */
export const REQID = 0x64726f76;
/** Asked last: what no other policy lets through does not pass. */
const LOCK_PRIORITY = 0x7fff_ffff;
const PEER_PRIORITY = 1000;
/** After so many packets an association is followed by another one: whoever joins late still guesses its 64-bit sequence. */
const MOST_PACKETS = 2 ** 31;
/** Of associations that one salt is taken for: what is remembered of it stays small. */
const MOST_USED = 1000;

/** The UDP port of encrypted networks' VXLAN inside of ESP: one of their own, so that nothing else is on it. */
export function encryptedPort(plan: Pick<NetworkPlan, 'dataPathPort'>): number {
  return plan.dataPathPort + 1;
}

/** What is in the kernel. */
export interface ActualEncryption {
  readonly states: readonly ActualXfrmState[];
  readonly policies: readonly XfrmPolicy[];
}

export interface KeyedState extends XfrmState {
  readonly key: Buffer;
  /** The other end. */
  readonly nodeId: string;
}

/** What is to be in the kernel. */
export interface WantedEncryption {
  readonly states: readonly KeyedState[];
  readonly policies: readonly XfrmPolicy[];
  /** What keeps packets of a peer from passing, a sentence each. */
  readonly problems: readonly string[];
}

/** One thing that differs, in the order in which it is made right. */
export type EncryptionChange =
  | { readonly kind: 'policy'; readonly policy: XfrmPolicy }
  | { readonly kind: 'state'; readonly state: KeyedState }
  | { readonly kind: 'remove-policy'; readonly policy: XfrmPolicy }
  | { readonly kind: 'remove-state'; readonly state: XfrmState };

/** What a node knows of the associations that it sends by: kept over a restart of the daemon, not of the machine. */
export interface SendingMemory {
  /** The newest last: only that one is taken for new associations. */
  readonly salts: readonly string[];
  /** What the newest was taken for, as `KEY NODE`: never again. */
  readonly used: readonly string[];
}

interface Association {
  readonly keyId: string;
  readonly spi: number;
  readonly key: Buffer;
}

/** The association that a node sends to a peer by. */
export type Sending =
  /** It is in the kernel: with its sequence number it is gone on with. */
  | ({ readonly kind: 'adopt' | 'make' } & Association)
  /** Another salt is needed, or peers have not heard of it yet. */
  | { readonly kind: 'salt' | 'wait' };

/** Nothing passes to or from the port but by policies that are asked before these. */
export function lockPolicies(plan: Pick<NetworkPlan, 'dataPathPort'>): XfrmPolicy[] {
  const port = encryptedPort(plan);
  const any = { source: '', destination: '', port };
  const lock = { ...any, action: 'block', priority: LOCK_PRIORITY, reqid: 0, spi: 0 } as const;
  return [
    { ...lock, direction: 'in' },
    { ...lock, direction: 'out' },
  ];
}

/** By which association this node sends to a peer: one that is there goes on, also by another key until the next can be made; none is made twice. */
export function sendingTo(
  plan: NetworkPlan,
  encryption: PlannedEncryption,
  peer: { readonly nodeId: string; readonly address: string },
  memory: SendingMemory,
  states: readonly ActualXfrmState[],
): Sending {
  const primary = primaryOf(encryption);
  const of = (planned: PlannedKey, salt: string): Association => {
    const facts = { clusterKey: planned.key, salt, sender: plan.nodeId, receiver: peer.nodeId };
    return { keyId: planned.id, ...directionKey(facts) };
  };
  // peers receive by each of the keys
  const keys = [primary, ...encryption.keys.filter(({ id }) => id !== primary.id)];
  const there = keys
    .flatMap((planned) => memory.salts.toReversed().map((salt) => of(planned, salt)))
    .map((each) => ({ each, actual: states.find((state) => isOf(state, plan, peer, each.spi)) }))
    .filter(({ actual }) => actual !== undefined);
  const fresh = there.find(
    ({ each, actual }) => each.keyId === primary.id && (actual?.sent ?? 0) < MOST_PACKETS,
  );
  if (fresh !== undefined) return { kind: 'adopt', ...fresh.each };
  const { salts, used } = memory;
  const newest = salts.at(-1);
  const isUsed = used.length >= MOST_USED || used.includes(usedFor(primary, peer.nodeId));
  if (newest === undefined || isUsed) return { kind: 'salt' };
  if (encryption.salts.includes(newest)) return { kind: 'make', ...of(primary, newest) };
  const [old] = there;
  return old === undefined ? { kind: 'wait' } : { kind: 'adopt', ...old.each };
}

export function usedFor({ id }: PlannedKey, nodeId: string): string {
  return `${id} ${nodeId}`;
}

/** The key that packets are sent by. */
export function primaryOf({ keys, primary }: PlannedEncryption): PlannedKey {
  const found = keys.find(({ id }) => id === primary);
  if (found === undefined) throw new Error('the plan names a key that it does not have');
  return found;
}

/** States for all that peers may send by, one to send to each by, and the policies that ask for them. */
export function wantedEncryption(
  plan: NetworkPlan,
  encryption: PlannedEncryption,
  sendings: ReadonlyMap<string, Sending>,
): WantedEncryption {
  const port = encryptedPort(plan);
  const own = plan.dataPathAddress;
  const states = new Map<string, KeyedState>();
  const policies: XfrmPolicy[] = lockPolicies(plan);
  const problems: string[] = [];
  const add = (state: KeyedState): void => {
    const id = stateId(state);
    if (states.has(id))
      problems.push(`node ${state.nodeId}: its SPI is another association's until the next key is taken`);
    else states.set(id, state);
  };
  for (const { nodeId, address, salts } of encryption.peers) {
    if (salts.length === 0) {
      problems.push(`node ${nodeId} has not said that it can encrypt: nothing passes`);
      continue;
    }
    for (const { key: clusterKey } of encryption.keys) {
      for (const salt of salts) {
        const { spi, key } = directionKey({ clusterKey, salt, sender: nodeId, receiver: plan.nodeId });
        add({ source: address, destination: own, spi, reqid: REQID, port, key, nodeId });
      }
    }
    const path = { action: 'allow', port, priority: PEER_PRIORITY, reqid: REQID } as const;
    policies.push({ ...path, direction: 'in', source: address, destination: own, spi: 0 });
    const sending = sendings.get(nodeId);
    if (sending?.kind !== 'adopt' && sending?.kind !== 'make') {
      problems.push(`node ${nodeId} has not heard yet what it is sent by: nothing passes to it`);
      continue;
    }
    const { spi, key } = sending;
    add({ source: own, destination: address, spi, reqid: REQID, port, key, nodeId });
    policies.push({ ...path, direction: 'out', source: own, destination: address, spi });
  }
  return { states: [...states.values()], policies, problems };
}

/** Of no network that is encrypted: nothing, or the locks alone as long as there are links that they are for. */
export function noEncryption(plan: NetworkPlan, hasLinks: boolean): WantedEncryption {
  return { states: [], policies: hasLinks ? lockPolicies(plan) : [], problems: [] };
}

/**
 * What makes `actual` the wanted one. Locks come first. What is received by is there before what is sent by, and a packet is always
 * sent by something: a policy changes from one state to the next in one step, and only then the last one goes.
 */
export function encryptionChanges(actual: ActualEncryption, wanted: WantedEncryption): EncryptionChange[] {
  const own = actual.states.filter(({ reqid }) => reqid === REQID);
  const states = new Set(own.map(stateId));
  const policies = new Map(actual.policies.map((policy) => [policyId(policy), policy]));
  const changes: EncryptionChange[] = [];
  const missing = wanted.policies.filter((policy) => !isSamePolicy(policies.get(policyId(policy)), policy));
  const locks = missing.filter(({ action }) => action === 'block');
  changes.push(...locks.map((policy) => ({ kind: 'policy', policy }) as const));
  for (const state of wanted.states) if (!states.has(stateId(state))) changes.push({ kind: 'state', state });
  for (const direction of ['in', 'out'] as const) {
    const open = missing.filter((policy) => policy.action === 'allow' && policy.direction === direction);
    changes.push(...open.map((policy) => ({ kind: 'policy', policy }) as const));
  }
  const kept = new Set(wanted.policies.map(policyId));
  for (const policy of actual.policies.toSorted((a, b) => a.priority - b.priority))
    if (isOurs(policy) && !kept.has(policyId(policy))) changes.push({ kind: 'remove-policy', policy });
  const known = new Set(wanted.states.map(stateId));
  for (const state of own) if (!known.has(stateId(state))) changes.push({ kind: 'remove-state', state });
  return changes;
}

/** The change as what is wrong without it. */
export function encryptionSentence(change: EncryptionChange): string {
  switch (change.kind) {
    case 'policy':
      return change.policy.action === 'block'
        ? `packets of encrypted networks that are in plaintext are not dropped (${change.policy.direction})`
        : `packets of encrypted networks ${pathOf(change.policy)} have no policy, or another one`;
    case 'state':
      return `encrypted networks: the association ${pathOf(change.state)} is missing`;
    case 'remove-policy':
      return `packets of encrypted networks ${pathOf(change.policy)} have a policy that is not planned`;
    case 'remove-state':
      return `encrypted networks: there is an association ${pathOf(change.state)} that is not planned`;
  }
}

function pathOf({ source, destination }: { source: string; destination: string }): string {
  return `from ${source || 'anywhere'} to ${destination || 'anywhere'}`;
}

function isOf(
  state: ActualXfrmState,
  { dataPathAddress }: NetworkPlan,
  { address }: { readonly address: string },
  spi: number,
): boolean {
  const { source, destination, reqid } = state;
  return reqid === REQID && source === dataPathAddress && destination === address && state.spi === spi;
}

function isOurs({ action, reqid, priority }: XfrmPolicy): boolean {
  return action === 'block' ? priority === LOCK_PRIORITY : reqid === REQID;
}

function stateId({ destination, spi }: XfrmState): string {
  return `${destination} ${spi}`;
}

/** The kernel has one policy for these. */
function policyId({ direction, source, destination, port }: XfrmPolicy): string {
  return `${direction} ${source} ${destination} ${port}`;
}

function isSamePolicy(a: XfrmPolicy | undefined, b: XfrmPolicy): boolean {
  return (
    a !== undefined &&
    a.action === b.action &&
    a.priority === b.priority &&
    a.reqid === b.reqid &&
    a.spi === b.spi
  );
}
