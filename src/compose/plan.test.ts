import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configHash, LABEL } from './container-request.ts';
import { type ActualContainer, type ContainerStep, type PlanOptions, planUp } from './plan.ts';
import type { Project } from './project.ts';
import { readProject } from './project-reader.ts';

function project(text: string): Project {
  return readProject({
    files: [{ name: 'compose.yaml', text }],
    directory: '/srv/shop',
    name: undefined,
    environment: () => undefined,
    profiles: [],
    resolvePath: (path) => path,
    readFile: () => undefined,
    warn: () => undefined,
  });
}

const SHOP = project(
  'services: {web: {image: a, deploy: {replicas: 2}, depends_on: [db]}, db: {image: b, volumes: ["data:/d"]}}\nvolumes: {data: }',
);
const IMAGES = new Map([
  ['web', 'sha256:1'],
  ['db', 'sha256:2'],
]);
const OPTIONS: PlanOptions = { forceRecreate: false, noRecreate: false, scale: new Map(), only: [] };

function running(of: Project, service: string, number: number, state = 'running'): ActualContainer {
  const found = of.services.get(service);
  const hash = found === undefined ? '' : configHash(of, found, IMAGES.get(service) ?? '');
  const labels = { [LABEL.service]: service, [LABEL.number]: String(number), [LABEL.hash]: hash };
  return { id: `${service}${number}`, name: `shop-${service}-${number}`, state, labels };
}

function steps(
  of: Project,
  containers: readonly ActualContainer[],
  options: Partial<PlanOptions> = {},
): string[] {
  const actual = { containers, networks: new Set<string>(), volumes: new Set<string>(), imageIds: IMAGES };
  const plan = planUp(of, actual, { ...OPTIONS, ...options });
  return plan.services.flatMap((service) =>
    service.steps.map((step: ContainerStep) => `${step.do} ${step.name}`),
  );
}

const ALL = [running(SHOP, 'db', 1), running(SHOP, 'web', 1), running(SHOP, 'web', 2)];

test('the first time everything is made, dependencies first', () => {
  assert.deepEqual(steps(SHOP, []), ['create shop-db-1', 'create shop-web-1', 'create shop-web-2']);
});

test('the second time nothing changes', () => {
  assert.deepEqual(steps(SHOP, ALL), ['keep shop-db-1', 'keep shop-web-1', 'keep shop-web-2']);
});

test('only what changed is made anew', () => {
  const changed = project(
    'services: {web: {image: a, deploy: {replicas: 2}, depends_on: [db]}, db: {image: b, user: "1", volumes: ["data:/d"]}}\nvolumes: {data: }',
  );
  assert.deepEqual(steps(changed, ALL), ['recreate shop-db-1', 'keep shop-web-1', 'keep shop-web-2']);
  assert.deepEqual(steps(changed, ALL, { noRecreate: true }), [
    'keep shop-db-1',
    'keep shop-web-1',
    'keep shop-web-2',
  ]);
});

test('replicas come and go, what stopped starts again', () => {
  assert.deepEqual(steps(SHOP, ALL, { scale: new Map([['web', 1]]) }), [
    'keep shop-db-1',
    'remove shop-web-2',
    'keep shop-web-1',
  ]);
  assert.deepEqual(
    steps(SHOP, ALL, { scale: new Map([['web', 3]]), only: ['web'] }).at(-1),
    'create shop-web-3',
  );
  assert.deepEqual(steps(SHOP, [running(SHOP, 'db', 1, 'exited')], { only: ['db'] }), ['start shop-db-1']);
});

test('networks and volumes that are missing are made, containers of other services are orphans', () => {
  const stranger = { ...running(SHOP, 'web', 1), labels: { [LABEL.service]: 'gone' } };
  const actual = {
    containers: [stranger],
    networks: new Set(['shop_default']),
    volumes: new Set<string>(),
    imageIds: IMAGES,
  };
  const plan = planUp(SHOP, actual, OPTIONS);
  assert.deepEqual([plan.networks, plan.volumes, plan.orphans.length], [[], ['data'], 1]);
});
