import { setTimeout as delay } from 'node:timers/promises';
import type { EngineEvent } from '#model/event.ts';
import type { Call } from './call.ts';
import { type EventFilter, eventFilter } from './event-filter.ts';
import { parseFilters } from './filters.ts';
import { nanosecondsOf } from './query.ts';

const FILTERS = [
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
  'config',
  'plugin',
];

/** A client that reads this many bytes too slowly is let go: what it does not read must not fill the daemon. */
const BACKLOG_BYTES = 4 * 1024 * 1024;

/** Streams events: kept ones from `since` on, then what happens until `until`, or until the client leaves. */
export async function streamEvents(call: Call): Promise<void> {
  const { query, signal } = call;
  const since = nanosecondsOf(query, 'since');
  const until = nanosecondsOf(query, 'until');
  const accepts = eventFilter(parseFilters(query.get('filters'), FILTERS));
  const response = call.startStream('application/json');
  const send = (event: EngineEvent): void => {
    if (!matches(event, accepts, until)) return;
    if (response.writableLength > BACKLOG_BYTES) response.destroy();
    else response.write(`${JSON.stringify(eventView(event))}\n`);
  };
  using _subscription = call.parts.events.subscribe(send);
  if (since !== undefined || until !== undefined) {
    // nothing is published between subscribing and here: both are in one synchronous stretch
    for (const event of call.parts.events.history(Number(since ?? 0n))) send(event);
  }
  try {
    if (until === undefined) await left(signal);
    else await delay(Math.max(0, Number(until / 1_000_000n) - Date.now()), undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  response.end();
}

function left(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}

function matches(event: EngineEvent, accepts: EventFilter, until: bigint | undefined): boolean {
  return (until === undefined || event.timeNano <= Number(until)) && accepts(event);
}

/** Clients before API 1.22 read the flat fields; Docker kept sending them. */
function eventView(event: EngineEvent): object {
  const { Type, Action, Actor } = event;
  const flat =
    Type === 'container' || Type === 'image'
      ? {
          status: Action,
          id: Actor.ID,
          ...(Type === 'container' ? { from: Actor.Attributes['image'] ?? '' } : {}),
        }
      : {};
  return { ...flat, ...event };
}
