import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { NetworkKey } from '#model/swarm.ts';
import { type Controller, type Decision, type DecisionContext, NOTHING } from './controller.ts';

/** As Swarm does. */
export const ROTATION_MS: number = 12 * 3600 * 1000;
/** One that everybody learns, one that is sent by, one that is still received by. */
const KEYS = 3;

/** The key that is sent by: the last but one, for every node has had as long as a rotation takes to learn it. */
export function primaryKey(keys: readonly NetworkKey[]): NetworkKey | undefined {
  return keys.at(-2);
}

/**
 * Keeps keys for encrypted networks: two at once with the first of them, a new one every twelve hours, none after the last. Each is
 * received by when it is made, sent by from the next rotation on, and forgotten two later. Its key is the swarm's ID.
 */
export class NetworkKeys implements Controller {
  readonly name = 'network-keys';
  readonly #make: (id: string) => string;

  /** `make` gives a new key, sealed for this ID. */
  constructor(o: { make: (id: string) => string }) {
    this.#make = o.make;
  }

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    if (change.table !== 'swarm' && change.table !== 'network') return;
    for (const { ID } of view.all('swarm')) yield ID;
  }

  reconcile(view: ClusterView, key: string, { nowMs, random }: DecisionContext): Decision {
    const swarm = view.get('swarm', key);
    if (swarm === undefined) return NOTHING;
    const { networkKeys = [], ...rest } = swarm;
    const now = new Date(nowMs).toISOString();
    const made = (): NetworkKey => {
      const id = random.id();
      return { id, sealed: this.#make(id), createdAt: now };
    };
    if (!isNeeded(view)) {
      if (networkKeys.length === 0) return NOTHING;
      return { writes: [{ table: 'swarm', put: { ...rest, UpdatedAt: now } }] };
    }
    const dueMs = Date.parse(networkKeys.at(-1)?.createdAt ?? now) + ROTATION_MS;
    if (networkKeys.length >= 2 && nowMs < dueMs) return { writes: [], againAtMs: dueMs };
    const keys = networkKeys.length < 2 ? [made(), made()] : [...networkKeys, made()].slice(-KEYS);
    const put = { ...rest, networkKeys: keys, UpdatedAt: now };
    return { writes: [{ table: 'swarm', put }], againAtMs: nowMs + ROTATION_MS };
  }
}

function isNeeded(view: ClusterView): boolean {
  for (const { EncryptedOption } of view.all('network')) if (EncryptedOption) return true;
  return false;
}
