import type { FileChange } from '#engine/layers/directory-changes.ts';
import type { PathStatus } from '#engine/layers/view-tasks.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { formatNanoseconds } from './log-line.ts';
import { booleanOf } from './query.ts';
import type { Route } from './route.ts';

/** The files of a container: in and out, all of them, and what it changed. */
export const containerFileRoutes: readonly Route[] = [
  { method: 'HEAD', path: '/containers/{id}/archive', operation: 'ContainerArchiveInfo', handler: stat },
  { method: 'GET', path: '/containers/{id}/archive', operation: 'ContainerArchive', handler: copyOut },
  { method: 'PUT', path: '/containers/{id}/archive', operation: 'PutContainerArchive', handler: copyIn },
  { method: 'GET', path: '/containers/{id}/export', operation: 'ContainerExport', handler: exportAll },
  { method: 'GET', path: '/containers/{id}/changes', operation: 'ContainerChanges', handler: changes },
];

const TAR = 'application/x-tar';

function pathOf(call: Call): string {
  const path = call.query.get('path') ?? '';
  if (path === '') throw invalid('path can not be empty');
  if (path.includes('\0')) throw invalid('invalid path: it contains a NUL byte');
  return path;
}

async function stat(call: Call): Promise<void> {
  const path = pathOf(call);
  using files = await call.parts.containers.openFiles(call.param('id'), { readOnly: true });
  call.response.setHeader('X-Docker-Container-Path-Stat', pathStat(await files.stat(path)));
  call.empty(200);
}

async function copyOut(call: Call): Promise<void> {
  const path = pathOf(call);
  const { containers } = call.parts;
  using files = await containers.openFiles(call.param('id'), { readOnly: true });
  call.response.setHeader('X-Docker-Container-Path-Stat', pathStat(await files.stat(path)));
  const response = call.startStream(TAR);
  await files.send(path, response);
  response.end();
}

async function copyIn(call: Call): Promise<void> {
  const path = pathOf(call);
  using files = await call.parts.containers.openFiles(call.param('id'), { readOnly: false });
  await files.receive(path, call.request, {
    asUser: booleanOf(call.query, 'copyUIDGID'),
    keepsKinds: booleanOf(call.query, 'noOverwriteDirNonDir'),
  });
  call.empty(200);
}

async function exportAll(call: Call): Promise<void> {
  using files = await call.parts.containers.exportFiles(call.param('id'));
  const response = call.startStream('application/octet-stream');
  await files.send(undefined, response);
  response.end();
}

const KINDS: Readonly<Record<FileChange['kind'], number>> = { modified: 0, added: 1, deleted: 2 };

async function changes(call: Call): Promise<void> {
  const found = await call.parts.containers.changes(call.param('id'));
  const lines = found.map(({ path, kind }) => ({ Path: path, Kind: KINDS[kind] }));
  call.json(200, lines.length === 0 ? null : lines);
}

/** The last moment that RFC 3339 can write. */
const LATEST_NS = 253_402_300_799_999_999_999n;

/** Docker's header: base64 of JSON. */
function pathStat({ name, size, mode, mtimeNs, isLink, resolved }: PathStatus): string {
  const time = mtimeNs < 0n ? 0n : mtimeNs > LATEST_NS ? LATEST_NS : mtimeNs;
  const told = {
    name,
    size,
    mode: goMode(mode),
    mtime: formatNanoseconds(time),
    linkTarget: isLink ? resolved : '',
  };
  return Buffer.from(JSON.stringify(told)).toString('base64');
}

const S_IFMT = 0o170000;
/** Go's os.FileMode has a bit for each of these of its own. */
const TYPES: Readonly<Record<number, number>> = {
  16384: 2 ** 31,
  40960: 2 ** 27,
  24576: 2 ** 26,
  4096: 2 ** 25,
  49152: 2 ** 24,
  8192: 2 ** 26 + 2 ** 21,
};

function goMode(mode: number): number {
  const special =
    ((mode & 0o4000) === 0 ? 0 : 2 ** 23) +
    ((mode & 0o2000) === 0 ? 0 : 2 ** 22) +
    ((mode & 0o1000) === 0 ? 0 : 2 ** 20);
  return (TYPES[mode & S_IFMT] ?? 0) + special + (mode & 0o777);
}
