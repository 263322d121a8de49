import { z } from 'zod';
import { matchesLabels } from '#model/filters.ts';
import type { VolumeRecord } from '#model/volume.ts';
import type { Call } from './call.ts';
import { booleanFilter, parseFilters } from './filters.ts';
import { booleanOf } from './query.ts';
import { present, readBody, textMap } from './request-body.ts';
import type { Route } from './route.ts';

export const volumeRoutes: readonly Route[] = [
  { method: 'GET', path: '/volumes', operation: 'VolumeList', handler: list },
  { method: 'POST', path: '/volumes/create', operation: 'VolumeCreate', handler: create },
  { method: 'GET', path: '/volumes/{name}', operation: 'VolumeInspect', handler: inspect },
  { method: 'DELETE', path: '/volumes/{name}', operation: 'VolumeDelete', handler: remove },
  { method: 'POST', path: '/volumes/prune', operation: 'VolumePrune', handler: prune },
];

/** A volume as `docker volume inspect` prints it. */
export function volumeView(volume: VolumeRecord): object {
  return {
    CreatedAt: volume.CreatedAt,
    Driver: volume.Driver,
    Labels: Object.keys(volume.Labels).length === 0 && !volume.anonymous ? null : labelsOf(volume),
    Mountpoint: volume.Mountpoint,
    Name: volume.Name,
    Options: Object.keys(volume.Options).length === 0 ? null : volume.Options,
    Scope: 'local',
  };
}

/** Docker marks the volumes it named itself with a label; prune and clients look for it. */
const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

function labelsOf(volume: VolumeRecord): Record<string, string> {
  return volume.anonymous ? { [ANONYMOUS_LABEL]: '', ...volume.Labels } : volume.Labels;
}

/** The containers that mount each volume. */
export function volumeUsers(call: Call): (name: string) => string[] {
  const users = new Map<string, string[]>();
  for (const record of call.parts.containers.list({ all: true, limit: 0, filters: {} })) {
    for (const { Type, Name } of record.mounts) {
      if (Type === 'volume' && Name !== undefined) users.set(Name, [...(users.get(Name) ?? []), record.id]);
    }
  }
  return (name) => users.get(name) ?? [];
}

function list(call: Call): void {
  const filters = parseFilters(call.query.get('filters'), ['dangling', 'driver', 'label', 'name']);
  const dangling = booleanFilter(filters, 'dangling');
  const users = dangling === undefined ? undefined : volumeUsers(call);
  const volumes = call.parts.volumes.list().filter((volume) => {
    if (users !== undefined && dangling !== (users(volume.Name).length === 0)) return false;
    if (filters['driver'] !== undefined && !filters['driver'].includes(volume.Driver)) return false;
    if (filters['name'] !== undefined && !filters['name'].some((part) => volume.Name.includes(part)))
      return false;
    return matchesLabels(filters, labelsOf(volume));
  });
  call.json(200, { Volumes: volumes.map(volumeView), Warnings: null });
}

const createSchema = z
  .object({
    Name: z.string().nullish(),
    Driver: z.string().nullish(),
    DriverOpts: textMap.nullish(),
    Labels: textMap.nullish(),
    ClusterVolumeSpec: z.null('cluster volumes are not there yet').optional(),
  })
  .transform(({ Name, Driver, DriverOpts, Labels }) => present({ Name, Driver, DriverOpts, Labels }));

async function create(call: Call): Promise<void> {
  const { Name, ...asked } = await readBody(call, createSchema);
  const named = Name === undefined || Name === '' ? { anonymous: true } : { Name };
  call.json(201, volumeView(call.parts.volumes.create({ ...asked, ...named })));
}

function inspect(call: Call): void {
  call.json(200, volumeView(call.parts.volumes.resolve(call.param('name'))));
}

async function remove(call: Call): Promise<void> {
  const name = call.param('name');
  await call.parts.volumes.remove(name, {
    force: booleanOf(call.query, 'force'),
    users: volumeUsers(call)(name),
  });
  call.empty(204);
}

async function prune(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['all', 'label', 'label!']);
  // API 1.42 made "anonymous ones only" the default
  const all = booleanFilter(filters, 'all') ?? call.version < 1042;
  const { deleted, bytes } = await call.parts.volumes.prune({
    accept: (volume: VolumeRecord) =>
      (all || volume.anonymous) &&
      // looked up each time: prune asks again once it has counted, and a container may have come meanwhile
      volumeUsers(call)(volume.Name).length === 0 &&
      matchesLabels(filters, labelsOf(volume)),
  });
  call.json(200, { VolumesDeleted: deleted, SpaceReclaimed: bytes });
}
