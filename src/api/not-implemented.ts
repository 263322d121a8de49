import { notImplemented } from '#model/errors.ts';
import type { Method, Route } from './route.ts';

const CLUSTER_VOLUMES = 'there are no volumes of a cluster (CSI)';
const PLUGINS = 'Drover has no plugins';

/** Method, path, operation, and why it is not there: the reason is a part of the answer. */
const MISSING: readonly (readonly [Method, string, string, string])[] = [
  [
    'GET',
    '/containers/{id}/attach/ws',
    'ContainerAttachWebsocket',
    'attach over an upgraded connection works, over a WebSocket it does not',
  ],
  ['PUT', '/volumes/{name}', 'VolumeUpdate', CLUSTER_VOLUMES],
  ['GET', '/plugins/privileges', 'GetPluginPrivileges', PLUGINS],
  ['POST', '/plugins/pull', 'PluginPull', PLUGINS],
  ['DELETE', '/plugins/{name}', 'PluginDelete', PLUGINS],
  ['POST', '/plugins/{name}/enable', 'PluginEnable', PLUGINS],
  ['POST', '/plugins/{name}/disable', 'PluginDisable', PLUGINS],
  ['POST', '/plugins/{name}/upgrade', 'PluginUpgrade', PLUGINS],
  ['POST', '/plugins/create', 'PluginCreate', PLUGINS],
  ['POST', '/plugins/{name}/push', 'PluginPush', PLUGINS],
  ['POST', '/plugins/{name}/set', 'PluginSet', PLUGINS],
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
