import { release } from 'node:os';
import type { CacheRecord } from '#build/build-cache.ts';
import { hostPlatform } from '#engine/images/image-documents.ts';
import { directoryBytes } from '#engine/volumes/directory-size.ts';
import { invalid, notFound } from '#model/errors.ts';
import type { Call } from './call.ts';
import { containerSummary } from './container-view.ts';
import { imageSummary } from './image-view.ts';
import { PRODUCT_VERSION } from './product.ts';
import type { Route } from './route.ts';
import { swarmHeader } from './swarm-view.ts';
import { streamEvents } from './system-events.ts';
import { systemInfo } from './system-info.ts';
import { LATEST_API_VERSION, OLDEST_API_VERSION } from './version.ts';
import { volumeUsers, volumeView } from './volumes.ts';

/** The daemon itself. */
export const systemRoutes: readonly Route[] = [
  { method: 'GET', path: '/_ping', operation: 'SystemPing', handler: ping },
  { method: 'HEAD', path: '/_ping', operation: 'SystemPingHead', handler: ping },
  { method: 'GET', path: '/version', operation: 'SystemVersion', handler: version },
  { method: 'GET', path: '/info', operation: 'SystemInfo', handler: info },
  { method: 'GET', path: '/events', operation: 'SystemEvents', handler: streamEvents },
  { method: 'GET', path: '/system/df', operation: 'SystemDataUsage', handler: dataUsage },
  // There are none: a list of them is empty, and `docker inspect` looks for the name it was given here as well.
  { method: 'GET', path: '/plugins', operation: 'PluginList', handler: (call) => call.json(200, []) },
  { method: 'GET', path: '/plugins/{name}/json', operation: 'PluginInspect', handler: noSuchPlugin },
];

function noSuchPlugin(call: Call): void {
  throw notFound(`plugin "${call.param('name')}" not found`);
}

function ping(call: Call): void {
  const body = call.request.method === 'HEAD' ? '' : 'OK';
  call.response.writeHead(200, {
    'Builder-Version': '2',
    Swarm: swarmHeader(call.parts.cluster.info()),
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Pragma: 'no-cache',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.length,
  });
  call.response.end(body);
}

function version(call: Call): void {
  const { runtime } = call.parts;
  const platform = {
    Version: PRODUCT_VERSION,
    ApiVersion: LATEST_API_VERSION,
    MinAPIVersion: OLDEST_API_VERSION,
    GitCommit: '',
    GoVersion: `none (Node ${process.version})`,
    Os: 'linux',
    Arch: hostPlatform().architecture,
    KernelVersion: release(),
    BuildTime: '',
  };
  call.json(200, {
    Platform: { Name: 'Drover' },
    Components: [
      {
        Name: 'Engine',
        Version: PRODUCT_VERSION,
        Details: { ...platform, Version: undefined, Experimental: 'false' },
      },
      { Name: runtime.name, Version: runtime.version, Details: {} },
    ],
    ...platform,
  });
}

function info(call: Call): void {
  call.json(200, systemInfo(call.parts));
}

const DATA_TYPES = ['container', 'image', 'volume', 'build-cache'];

function cacheLine(call: Call, record: CacheRecord): object {
  const { cache } = call.parts.builder;
  return {
    ID: record.key.slice('sha256:'.length, 'sha256:'.length + 25),
    Type: 'regular',
    Description: record.description,
    InUse: false,
    Shared: false,
    Size: cache.size(record),
    CreatedAt: record.createdAt,
    LastUsedAt: record.usedAt,
    UsageCount: record.uses,
  };
}

async function dataUsage(call: Call): Promise<void> {
  const { images, layers, containers, filesystems, volumes } = call.parts;
  const asked = call.query.getAll('type');
  for (const type of asked) {
    if (!DATA_TYPES.includes(type)) throw invalid(`unknown object type: ${type}`);
  }
  const wants = (type: string): boolean => asked.length === 0 || asked.includes(type);
  const records = containers.list({ all: true, limit: 0, filters: {} });
  const usage: Record<string, unknown> = {};
  if (wants('build-cache'))
    usage['BuildCache'] = call.parts.builder.cache
      .list()
      .filter(({ diffId }) => diffId !== undefined)
      .map((record) => cacheLine(call, record));
  if (wants('image')) {
    const all = images.list();
    const used = new Set(all.flatMap((image) => image.configuration.rootfs.diff_ids));
    usage['LayersSize'] = [...used].reduce((total, diffId) => total + layers.size(diffId), 0);
    usage['Images'] = all.map((image) => {
      const users = records.filter((record) => record.imageId === image.id).length;
      return { ...imageSummary(image, { version: call.version, containers: users }), SharedSize: 0 };
    });
  }
  if (wants('container')) {
    const lines: object[] = [];
    for (const record of records) {
      const writable = await filesystems.writableSize(record.id);
      const sizes = { SizeRw: writable, SizeRootFs: writable };
      lines.push(containerSummary(record, { imageName: record.config.Image, nowMs: Date.now(), sizes }));
    }
    usage['Containers'] = lines;
  }
  if (wants('volume')) {
    const users = volumeUsers(call);
    const list: object[] = [];
    for (const volume of volumes.list()) {
      const size = await directoryBytes(volume.Mountpoint);
      list.push({ ...volumeView(volume), UsageData: { Size: size, RefCount: users(volume.Name).length } });
    }
    usage['Volumes'] = list;
  }
  call.json(200, usage);
}
