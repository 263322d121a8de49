import { buildRoutes } from './build.ts';
import { buildSessionRoutes } from './build-sessions.ts';
import { clusterOperationRoutes } from './cluster-operation.ts';
import { configRoutes } from './configs.ts';
import { containerFileRoutes } from './container-files.ts';
import { containerLifecycleRoutes } from './container-lifecycle.ts';
import { containerStatsRoutes } from './container-stats.ts';
import { containerStreamRoutes } from './container-streams.ts';
import { containerRoutes } from './containers.ts';
import { execRoutes } from './exec.ts';
import { imageLineageRoutes } from './image-lineage.ts';
import { imageRoutes } from './images.ts';
import { networkRoutes } from './networks.ts';
import { nodeRoutes } from './nodes.ts';
import { notImplementedRoutes } from './not-implemented.ts';
import type { Route } from './route.ts';
import { secretRoutes } from './secrets.ts';
import { serviceRoutes } from './services.ts';
import { stackRoutes } from './stacks.ts';
import { swarmRoutes } from './swarm.ts';
import { systemRoutes } from './system.ts';
import { taskLogRoutes } from './task-logs.ts';
import { taskRoutes } from './tasks.ts';
import { volumeRoutes } from './volumes.ts';

/** Every call of Docker's API, there or answered 501. `docs/compatibility.md` lists them for people. */
export const routes: readonly Route[] = [
  ...systemRoutes,
  ...containerRoutes,
  ...containerLifecycleRoutes,
  ...containerStreamRoutes,
  ...containerFileRoutes,
  ...containerStatsRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...imageLineageRoutes,
  ...buildRoutes,
  ...buildSessionRoutes,
  ...volumeRoutes,
  ...networkRoutes,
  ...swarmRoutes,
  ...nodeRoutes,
  ...clusterOperationRoutes,
  ...serviceRoutes,
  ...taskRoutes,
  ...taskLogRoutes,
  ...secretRoutes,
  ...configRoutes,
  ...stackRoutes,
  ...notImplementedRoutes,
];
