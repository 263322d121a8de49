import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { kindOf, unavailable } from '#model/errors.ts';
import { ahead, forgotten } from './change-log.ts';
import type { EtcdClient } from './etcd-client.ts';
import { type EtcdKeys, revisionIn } from './etcd-wire.ts';
import { type Json, numberIn, objectsIn, textIn } from './json-object.ts';
import type { Change, ChangeBatch } from './store.ts';

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2000;

export interface EtcdWatch {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly keys: EtcdKeys;
  readonly prefix: string;
  readonly revision: number;
  readonly signal: AbortSignal;
  /** For so long it looks for an endpoint that serves it before the store counts as lost. */
  readonly patienceMs: number;
  /** Linearizable. */
  currentRevision(): Promise<number>;
}

/** Up to where everything was seen, and whether etcd served us in the last attempt. */
interface Place {
  revision: number;
  served: boolean;
}

/** `Store.watch` on etcd: goes on at another endpoint, from where it was, when a connection breaks or a member loses its leader. */
export async function* watchEtcd(o: EtcdWatch): AsyncGenerator<ChangeBatch> {
  const place: Place = { revision: o.revision, served: false };
  let brokenMs = o.clock.monotonicMs();
  for (let attempt = 0; !o.signal.aborted; attempt += 1) {
    try {
      const current = await o.currentRevision();
      if (current < place.revision) throw ahead(place.revision, current);
      yield* watchOnce(o, place);
    } catch (error) {
      if (o.signal.aborted) return;
      if (kindOf(error) !== 'unavailable') throw error;
      if (place.served) {
        place.served = false;
        brokenMs = o.clock.monotonicMs();
        attempt = 0;
      } else if (o.clock.monotonicMs() - brokenMs >= o.patienceMs) throw error;
    }
    await pause(o.clock, backoffMs({ attempt, firstMs: FIRST_PAUSE_MS, maxMs: MAX_PAUSE_MS }), o.signal);
  }
}

/** One connection, until `signal` aborts; throws when it breaks. */
async function* watchOnce(o: EtcdWatch, place: Place): AsyncGenerator<ChangeBatch> {
  // Begins one revision early and drops that: etcd before 3.4.33 loses a deletion at exactly the revision that was compacted last,
  // and this way a watch never begins there.
  const create = {
    ...o.keys.range(o.prefix),
    ...{ start_revision: String(Math.max(1, place.revision)), progress_notify: true, fragment: true },
  };
  let begun: readonly Change[] = [];
  const { signal } = o;
  const request = { create_request: create };
  for await (const message of o.client.stream('watch', request, { signal, repeatable: true })) {
    if (message['canceled'] === true) {
      if (numberIn(message, 'compact_revision') > 0) throw forgotten(place.revision);
      throw unavailable(`etcd ended a watch: ${textIn(message, 'cancel_reason')}`);
    }
    place.served = true;
    const { whole, rest } = split([...begun, ...changesIn(o.keys, message, place.revision)], message);
    begun = rest;
    const last = whole.at(-1);
    if (last !== undefined) {
      place.revision = revisionOf(last);
      yield { revision: place.revision, changes: whole };
    } else if (message['created'] !== true && objectsIn(message, 'events').length === 0) {
      // nothing below our prefix up to here: etcd may forget what is before
      place.revision = Math.max(place.revision, revisionIn(message));
    }
  }
  if (!signal.aborted) throw unavailable('etcd ended a watch');
}

/** A message that is too large comes in fragments, which may part what belongs to one revision: that is held back until it is whole. */
function split(changes: readonly Change[], message: Json): { whole: readonly Change[]; rest: Change[] } {
  const last = changes.at(-1);
  if (message['fragment'] !== true || last === undefined) return { whole: changes, rest: [] };
  const end = changes.findIndex((change) => revisionOf(change) === revisionOf(last));
  return { whole: changes.slice(0, end), rest: changes.slice(end) };
}

function changesIn(keys: EtcdKeys, message: Json, after: number): Change[] {
  return objectsIn(message, 'events')
    .map((event) => keys.change(event))
    .filter((change) => revisionOf(change) > after);
}

function revisionOf(change: Change): number {
  return change.kind === 'put' ? change.entry.revision : change.revision;
}
