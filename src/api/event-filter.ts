import type { EngineEvent } from '#model/event.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';

export type EventFilter = (event: EngineEvent) => boolean;

/** Types whose filter of the same name holds IDs (or their beginnings) and names. */
const BY_ACTOR = [
  'container',
  'volume',
  'network',
  'daemon',
  'plugin',
  'service',
  'node',
  'secret',
  'config',
];

/** Conditions of different keys must all hold; of the values of one key, one. */
export function eventFilter(filters: Filters): EventFilter {
  const given = (key: string): string[] | undefined =>
    filters[key] === undefined || filters[key].length === 0 ? undefined : filters[key];
  const actors = BY_ACTOR.filter((type) => given(type) !== undefined);
  return (event) => {
    if (given('type')?.includes(event.Type) === false) return false;
    if (given('event')?.some((action) => isAction(event.Action, action)) === false) return false;
    if (given('scope')?.includes(event.scope) === false) return false;
    if (!matchesLabels(filters, event.Actor.Attributes)) return false;
    if (given('image')?.some((name) => isImage(event, name)) === false) return false;
    return actors.every((type) => event.Type === type && given(type)?.some((name) => isActor(event, name)));
  };
}

/** `exec_create` also means `exec_create: sh`, `health_status` also `health_status: healthy`. */
function isAction(action: string, wanted: string): boolean {
  return action === wanted || action.startsWith(`${wanted}:`);
}

function isActor(event: EngineEvent, name: string): boolean {
  return event.Actor.ID === name || event.Actor.Attributes['name'] === name || isPrefix(event.Actor.ID, name);
}

function isPrefix(id: string, name: string): boolean {
  return /^[0-9a-f]{4,64}$/.test(name) && id.startsWith(name);
}

/** An image's own events, and those of containers made of it; with or without the tag. */
function isImage(event: EngineEvent, name: string): boolean {
  const { ID, Attributes } = event.Actor;
  const candidates = event.Type === 'image' ? [ID, Attributes['name'] ?? ''] : [Attributes['image'] ?? ''];
  return candidates.some((image) => image === name || image.replace(/:[^:/]*$/, '') === name);
}
