import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import type { Call } from './call.ts';
import { parseFilters } from './filters.ts';
import type { Route } from './route.ts';
import { type NetworkOfTask, taskView } from './task-view.ts';

export const taskRoutes: readonly Route[] = [
  { method: 'GET', path: '/tasks', operation: 'TaskList', handler: list },
  { method: 'GET', path: '/tasks/{id}', operation: 'TaskInspect', handler: inspect },
];

const FILTERS = [
  '_up-to-date',
  'desired-state',
  'id',
  'label',
  'name',
  'node',
  'runtime',
  'service',
  'up-to-date',
];

function list(call: Call): void {
  const control = call.parts.cluster.control();
  const networkOf = networksOf(control);
  const found = control.tasks.list(parseFilters(call.query.get('filters'), FILTERS));
  call.json(
    200,
    found.map((task) => taskView(task, networkOf)),
  );
}

function inspect(call: Call): void {
  const control = call.parts.cluster.control();
  call.json(200, taskView(control.tasks.inspect(call.param('id')), networksOf(control)));
}

function networksOf(control: ClusterControl): NetworkOfTask {
  return (id) => control.networks.versioned(id);
}
