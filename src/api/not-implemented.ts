import { notImplemented } from '#model/errors.ts';
import type { Method, Route } from './route.ts';

const BUILD =
  "Drover builds without BuildKit's protocol; set DOCKER_BUILDKIT=0 for docker build, or use drover build";
const CLUSTER = 'this daemon is one host, not a cluster';
const FILES = 'Drover does not copy files in and out of containers';
const PLUGINS = 'Drover has no plugins';

/** Method, path, operation, and why it is not there: the reason is a part of the answer. */
const MISSING: readonly (readonly [Method, string, string, string])[] = [
  ['GET', '/containers/{id}/changes', 'ContainerChanges', 'it does not compare a container with its image'],
  ['GET', '/containers/{id}/export', 'ContainerExport', FILES],
  ['HEAD', '/containers/{id}/archive', 'ContainerArchiveInfo', FILES],
  ['GET', '/containers/{id}/archive', 'ContainerArchive', FILES],
  ['PUT', '/containers/{id}/archive', 'PutContainerArchive', FILES],
  ['GET', '/containers/{id}/stats', 'ContainerStats', 'it does not sample what containers use'],
  [
    'GET',
    '/containers/{id}/attach/ws',
    'ContainerAttachWebsocket',
    'attach over an upgraded connection works, over a WebSocket it does not',
  ],
  ['POST', '/commit', 'ImageCommit', 'it does not make images of containers'],
  ['PUT', '/volumes/{name}', 'VolumeUpdate', CLUSTER],
  ['GET', '/plugins/privileges', 'GetPluginPrivileges', PLUGINS],
  ['POST', '/plugins/pull', 'PluginPull', PLUGINS],
  ['DELETE', '/plugins/{name}', 'PluginDelete', PLUGINS],
  ['POST', '/plugins/{name}/enable', 'PluginEnable', PLUGINS],
  ['POST', '/plugins/{name}/disable', 'PluginDisable', PLUGINS],
  ['POST', '/plugins/{name}/upgrade', 'PluginUpgrade', PLUGINS],
  ['POST', '/plugins/create', 'PluginCreate', PLUGINS],
  ['POST', '/plugins/{name}/push', 'PluginPush', PLUGINS],
  ['POST', '/plugins/{name}/set', 'PluginSet', PLUGINS],
  ['GET', '/nodes', 'NodeList', CLUSTER],
  ['GET', '/nodes/{id}', 'NodeInspect', CLUSTER],
  ['DELETE', '/nodes/{id}', 'NodeDelete', CLUSTER],
  ['POST', '/nodes/{id}/update', 'NodeUpdate', CLUSTER],
  ['GET', '/swarm', 'SwarmInspect', CLUSTER],
  ['POST', '/swarm/init', 'SwarmInit', CLUSTER],
  ['POST', '/swarm/join', 'SwarmJoin', CLUSTER],
  ['POST', '/swarm/leave', 'SwarmLeave', CLUSTER],
  ['POST', '/swarm/update', 'SwarmUpdate', CLUSTER],
  ['GET', '/swarm/unlockkey', 'SwarmUnlockkey', CLUSTER],
  ['POST', '/swarm/unlock', 'SwarmUnlock', CLUSTER],
  ['GET', '/services', 'ServiceList', CLUSTER],
  ['POST', '/services/create', 'ServiceCreate', CLUSTER],
  ['GET', '/services/{id}', 'ServiceInspect', CLUSTER],
  ['DELETE', '/services/{id}', 'ServiceDelete', CLUSTER],
  ['POST', '/services/{id}/update', 'ServiceUpdate', CLUSTER],
  ['GET', '/services/{id}/logs', 'ServiceLogs', CLUSTER],
  ['GET', '/tasks', 'TaskList', CLUSTER],
  ['GET', '/tasks/{id}', 'TaskInspect', CLUSTER],
  ['GET', '/tasks/{id}/logs', 'TaskLogs', CLUSTER],
  ['GET', '/secrets', 'SecretList', CLUSTER],
  ['POST', '/secrets/create', 'SecretCreate', CLUSTER],
  ['GET', '/secrets/{id}', 'SecretInspect', CLUSTER],
  ['DELETE', '/secrets/{id}', 'SecretDelete', CLUSTER],
  ['POST', '/secrets/{id}/update', 'SecretUpdate', CLUSTER],
  ['GET', '/configs', 'ConfigList', CLUSTER],
  ['POST', '/configs/create', 'ConfigCreate', CLUSTER],
  ['GET', '/configs/{id}', 'ConfigInspect', CLUSTER],
  ['DELETE', '/configs/{id}', 'ConfigDelete', CLUSTER],
  ['POST', '/configs/{id}/update', 'ConfigUpdate', CLUSTER],
  ['POST', '/session', 'Session', BUILD],
  // not in the API's description, but asked for by BuildKit clients
  ['POST', '/grpc', 'Grpc', BUILD],
];

/** Every call of Docker's API that is answered 501. */
export const notImplementedRoutes: readonly Route[] = MISSING.map(([method, path, operation, reason]) => ({
  method,
  path,
  operation,
  missing: reason,
  handler: () => {
    throw notImplemented(`${method} ${path} is not there yet: ${reason}`);
  },
}));
