import type { EventBus } from '#engine/events/event-bus.ts';
import type { ContainerRecord } from '#model/container.ts';

/** Announces what happened to a container, with the attributes Docker gives: labels, image, name, and the event's own. */
export function publishContainerEvent(
  events: EventBus,
  action: string,
  record: ContainerRecord,
  attributes: Record<string, string> = {},
): void {
  const { config, id, name } = record;
  events.publish('container', action, id, { ...config.Labels, image: config.Image, name, ...attributes });
}
