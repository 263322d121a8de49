import type { EngineEvent, EventType } from '#model/event.ts';

/** Receives events as they happen; must not throw. */
export type EventListener = (event: EngineEvent) => void;

/** How many past events are kept for `since`, as many as Docker keeps. */
const HISTORY = 256;

/** Announces what happened. Events are hints: whoever depends on state reads state. */
export class EventBus {
  readonly #listeners = new Set<EventListener>();
  #history: EngineEvent[] = [];
  #lastNano = 0n;

  /** Publishes to every listener, in the order they subscribed, before it returns. */
  publish(
    type: EventType,
    action: string,
    id: string,
    attributes: Record<string, string> = {},
    scope: EngineEvent['scope'] = 'local',
  ): void {
    const nano = this.#now();
    const event: EngineEvent = {
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope,
      time: Number(nano / 1_000_000_000n),
      timeNano: Number(nano),
    };
    this.#history.push(event);
    if (this.#history.length > HISTORY) this.#history = this.#history.slice(-HISTORY);
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** Calls `listener` for each event from now on, until the result is disposed of. */
  subscribe(listener: EventListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** The kept events at or after `sinceNano`, oldest first. */
  history(sinceNano: number): EngineEvent[] {
    return this.#history.filter((event) => event.timeNano >= sinceNano);
  }

  /** Strictly growing, so that two events never share a time. */
  #now(): bigint {
    const nano = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
    this.#lastNano = nano > this.#lastNano ? nano : this.#lastNano + 1000n;
    return this.#lastNano;
  }
}
