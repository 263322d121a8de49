import { randomBytes } from 'node:crypto';
import type { RecordStore } from '#engine/records/record-store.ts';
import { bootId } from '#linux/process-identity.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { listVxlans } from '#linux/vxlan.ts';
import { espProblem, Xfrm } from '#linux/xfrm.ts';
import type { ActualXfrmState } from '#linux/xfrm-messages.ts';
import { unavailable } from '#model/errors.ts';
import type { NetworkPlan, PlannedEncryption } from '#model/network-plan.ts';
import type { NodeEncryption } from '#model/node.ts';
import { directionKey } from './encryption-keys.ts';
import {
  type ActualEncryption,
  type EncryptionChange,
  encryptedPort,
  encryptionChanges,
  encryptionSentence,
  noEncryption,
  primaryOf,
  REQID,
  type Sending,
  type SendingMemory,
  sendingTo,
  usedFor,
  type WantedEncryption,
  wantedEncryption,
} from './encryption-state.ts';

const RECORD = 'node';
const SALT_BYTES = 16;
const NOTHING: ActualEncryption = { states: [], policies: [] };

/** What is kept over a restart of the daemon. */
interface EncryptionRecord extends SendingMemory {
  /** After the machine has started anew nothing is known of what was sent. */
  readonly bootId: string;
}

/**
 * IPsec of the encrypted networks of a node: states and policies in the kernel as the plan says. Fails closed: without keys, without
 * a peer's word, or before anything is programmed packets are dropped.
 *
 * Invariant: no association to send by is made twice. What it is made for is written down before; one that is gone from the kernel
 * is followed by one with another salt, which peers hear of first.
 */
export class NetworkEncryption {
  readonly #records: RecordStore;
  readonly #listeners = new Set<() => void>();
  #memory: SendingMemory | undefined;
  #problem: { readonly reason: string | undefined } | undefined;
  /** What was programmed; undefined is not known. */
  #programmed: string | undefined;
  /** Nothing of ours is in the kernel, nor a link that it would be for. */
  #isIdle = false;

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** Why this node cannot encrypt; undefined where it can. The kernel is asked once. */
  get problem(): string | undefined {
    this.#problem ??= { reason: espProblem() };
    return this.#problem.reason;
  }

  /** What the managers, and by them the peers, have to know. */
  get standing(): NodeEncryption {
    const problem = this.problem;
    return problem === undefined ? { salts: [...this.#remembered().salts] } : { problem, salts: [] };
  }

  /** Calls back when {@link standing} has changed, until `signal` aborts; must not throw. */
  watch(onChange: () => void, signal: AbortSignal): void {
    this.#listeners.add(onChange);
    signal.addEventListener('abort', () => this.#listeners.delete(onChange), { once: true });
  }

  /**
   * Makes the kernel what the plan says; where it says no keys, what is there stays as it is, locked. Throws what cannot be
   * programmed, with everything else done.
   */
  program(plan: NetworkPlan): void {
    if (this.#isIdle && !isEncrypted(plan)) return;
    const key = keyOf(plan);
    if (this.#programmed === key) return;
    this.distrust();
    const actual = readKernel();
    const wanted = this.#wanted(plan, actual, { renews: true });
    const failures = applyChanges(this.#allowed(plan, encryptionChanges(actual, wanted)));
    if (failures.length > 0) throw unavailable(failures.join('; '));
    this.#programmed = key;
    this.#isIdle = wanted.policies.length === 0;
  }

  /** What differs from the plan, a sentence each. */
  differences(plan: NetworkPlan): string[] {
    const actual = readKernel();
    const wanted = this.#wanted(plan, actual, { renews: false });
    const isLeft = plan.encryption === undefined && isEncrypted(plan);
    return [
      ...(isLeft ? ['encrypted networks: no manager has given this node their keys yet'] : []),
      ...this.#allowed(plan, encryptionChanges(actual, wanted)).map(encryptionSentence),
      ...wanted.problems.map((problem) => `encrypted networks: ${problem}`),
    ];
  }

  distrust(): void {
    this.#programmed = undefined;
    this.#isIdle = false;
  }

  /** Takes everything of ours out of the kernel. */
  remove(): void {
    this.distrust();
    const failures = applyChanges(
      encryptionChanges(readKernel(), { states: [], policies: [], problems: [] }),
    );
    if (failures.length > 0) throw unavailable(failures.join('; '));
  }

  /** Without keys nothing is known of what is to be there: only locks are. */
  #allowed(plan: NetworkPlan, changes: readonly EncryptionChange[]): readonly EncryptionChange[] {
    if (plan.encryption !== undefined || !isEncrypted(plan)) return changes;
    return changes.filter((change) => change.kind === 'policy' && change.policy.action === 'block');
  }

  #wanted(plan: NetworkPlan, actual: ActualEncryption, o: { renews: boolean }): WantedEncryption {
    const { encryption } = plan;
    if (encryption === undefined) return noEncryption(plan, isEncrypted(plan) || hasLinks(plan));
    const own = actual.states.filter(({ reqid }) => reqid === REQID);
    const sendings = this.#sendings(plan, encryption, own);
    if (!o.renews) return wantedEncryption(plan, encryption, sendings);
    if ([...sendings.values()].some(({ kind }) => kind === 'salt')) {
      this.#renewSalt(plan, encryption, own);
      return this.#noted(plan, encryption, this.#sendings(plan, encryption, own));
    }
    return this.#noted(plan, encryption, sendings);
  }

  #sendings(
    plan: NetworkPlan,
    encryption: PlannedEncryption,
    own: readonly ActualXfrmState[],
  ): ReadonlyMap<string, Sending> {
    const memory = this.#remembered();
    const peers = encryption.peers.filter(({ salts }) => salts.length > 0);
    return new Map(
      peers.map((peer) => [peer.nodeId, sendingTo(plan, encryption, peer, memory, own)] as const),
    );
  }

  /** What will be made is written down first. */
  #noted(
    plan: NetworkPlan,
    encryption: PlannedEncryption,
    sendings: ReadonlyMap<string, Sending>,
  ): WantedEncryption {
    const made = [...sendings].filter(([, { kind }]) => kind === 'make');
    if (made.length > 0) {
      const primary = primaryOf(encryption);
      const { salts, used } = this.#remembered();
      this.#keep({ salts, used: [...used, ...made.map(([nodeId]) => usedFor(primary, nodeId))] });
    }
    return wantedEncryption(plan, encryption, sendings);
  }

  /** A new salt for what is made from now on; those that something is sent by stay. */
  #renewSalt(plan: NetworkPlan, encryption: PlannedEncryption, own: readonly ActualXfrmState[]): void {
    const alive = this.#remembered().salts.filter((salt) =>
      encryption.peers.some(({ nodeId, address }) =>
        encryption.keys.some(({ key: clusterKey }) => {
          const { spi } = directionKey({ clusterKey, salt, sender: plan.nodeId, receiver: nodeId });
          return own.some((state) => state.destination === address && state.spi === spi);
        }),
      ),
    );
    this.#keep({ salts: [...alive, newSalt()], used: [] });
    for (const listener of [...this.#listeners]) listener();
  }

  #remembered(): SendingMemory {
    if (this.#memory !== undefined) return this.#memory;
    const kept = this.#records.get<EncryptionRecord>('network-encryption', RECORD);
    if (kept === undefined || kept.bootId !== bootId()) this.#keep({ salts: [newSalt()], used: [] });
    else this.#memory = { salts: kept.salts, used: kept.used };
    return this.#memory ?? { salts: [], used: [] };
  }

  #keep(memory: SendingMemory): void {
    this.#records.put('network-encryption', RECORD, { ...memory, bootId: bootId() });
    this.#memory = memory;
  }
}

function newSalt(): string {
  return randomBytes(SALT_BYTES).toString('hex');
}

function isEncrypted({ networks }: NetworkPlan): boolean {
  return networks.some(({ encrypted }) => encrypted);
}

/** Networks that are planned no more have their links as long as a container is on them. */
function hasLinks(plan: NetworkPlan): boolean {
  return plan.dataPathPort !== 0 && listVxlans().some(({ port }) => port === encryptedPort(plan));
}

/** What the state in the kernel follows from. */
function keyOf(plan: NetworkPlan): string {
  const { nodeId, dataPathAddress, dataPathPort, encryption } = plan;
  const isLocked = isEncrypted(plan) || hasLinks(plan);
  return JSON.stringify([nodeId, dataPathAddress, dataPathPort, isLocked, encryption]);
}

function readKernel(): ActualEncryption {
  try {
    using xfrm = new Xfrm();
    return { states: xfrm.states(), policies: xfrm.policies() };
  } catch (error) {
    // without IPsec there is nothing
    if (hasCode(error, 'EPROTONOSUPPORT')) return NOTHING;
    throw error;
  }
}

/** In their order; gives what failed. What a failed change was for stays locked. */
function applyChanges(changes: readonly EncryptionChange[]): string[] {
  if (changes.length === 0) return [];
  using xfrm = new Xfrm();
  const failures: string[] = [];
  for (const change of changes) {
    try {
      applyChange(xfrm, change);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      failures.push(`${encryptionSentence(change)}: ${why}`);
    }
  }
  return failures;
}

function applyChange(xfrm: Xfrm, change: EncryptionChange): void {
  if (change.kind === 'policy') xfrm.setPolicy(change.policy);
  if (change.kind === 'state') xfrm.addState(change.state, change.state.key);
  if (change.kind === 'remove-policy') xfrm.removePolicy(change.policy);
  if (change.kind === 'remove-state') xfrm.removeState(change.state);
}
