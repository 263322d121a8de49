import type { ContainerRecord } from '#model/container.ts';
import { invalid, kindOf } from '#model/errors.ts';
import { type Filters, matchesLabels, parseUntil } from '#model/filters.ts';
import type { ContainerParts } from './container-parts.ts';

/** Removes every container that does not run and matches `filters` (label, label!, until). */
export async function pruneContainers(
  parts: ContainerParts,
  filters: Filters,
  remove: (id: string) => Promise<void>,
): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }> {
  const isChosen = pruneCondition(filters, parts.clock.nowMs());
  const deleted: string[] = [];
  let bytes = 0;
  for (const record of parts.table.all()) {
    if (record.unfinished !== undefined || !isChosen(record)) continue;
    const size = await parts.filesystems.writableSize(record.id);
    try {
      await remove(record.id);
    } catch (error) {
      // started, or removed by somebody else, meanwhile
      if (['conflict', 'not-found'].includes(kindOf(error))) continue;
      throw error;
    }
    deleted.push(record.id);
    bytes += size;
  }
  parts.events.publish('container', 'prune', '', { reclaimed: String(bytes) });
  return { ContainersDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: bytes };
}

/** Which containers a prune takes. Throws `invalid` for an `until` that is no time. */
function pruneCondition(filters: Filters, nowMs: number): (record: ContainerRecord) => boolean {
  const [until, another] = filters['until'] ?? [];
  if (another !== undefined) throw invalid('more than one until filter specified');
  const beforeMs = until === undefined ? Number.POSITIVE_INFINITY : parseUntil(until, nowMs);
  if (beforeMs === undefined) throw invalid(`invalid filter 'until=${until}'`);
  return ({ state, created, config }) =>
    !state.Running && Date.parse(created) < beforeMs && matchesLabels(filters, config.Labels);
}
