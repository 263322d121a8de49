import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceSpec } from '#model/service.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import { specDifferences } from './spec-differences.ts';

function spec(o: Partial<ServiceSpec>, template: Partial<TaskSpec['ContainerSpec']> = {}): ServiceSpec {
  return { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'web:1', ...template } }, ...o };
}

function paths(before: ServiceSpec, after: ServiceSpec): string[] {
  return specDifferences(before, after).map(({ path }) => path);
}

test('what says nothing and what is said of a default are no differences', () => {
  const ports = [{ TargetPort: 80, PublishedPort: 8080 }];
  const before = spec({ EndpointSpec: { Ports: ports }, Labels: {} }, { Env: [] });
  const after = spec({
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ ...ports[0], TargetPort: 80, Protocol: 'tcp', PublishMode: 'ingress' }],
    },
  });
  assert.deepEqual(paths(before, after), []);
  assert.deepEqual(paths(after, before), []);
});

test('entries of lists are compared by their names, whatever their order', () => {
  const mount = (Target: string, Source: string) => ({ Type: 'volume', Target, Source }) as const;
  const before = spec({}, { Env: ['A=1', 'B=2'], Mounts: [mount('/a', 'x'), mount('/b', 'y')] });
  assert.deepEqual(
    paths(before, spec({}, { Env: ['B=2', 'A=1'], Mounts: [mount('/b', 'y'), mount('/a', 'x')] })),
    [],
  );
  assert.deepEqual(paths(before, spec({}, { Env: ['A=1', 'C=3'], Mounts: [mount('/a', 'z')] })), [
    'TaskTemplate.ContainerSpec.Env[B]',
    'TaskTemplate.ContainerSpec.Env[C]',
    'TaskTemplate.ContainerSpec.Mounts[/a].Source',
    'TaskTemplate.ContainerSpec.Mounts[/b]',
  ]);
});

test('one port that is published twice hides neither', () => {
  const on = (...published: number[]): ServiceSpec =>
    spec({ EndpointSpec: { Ports: published.map((PublishedPort) => ({ TargetPort: 80, PublishedPort })) } });
  assert.deepEqual(paths(on(80, 8080), on(81, 8080)), ['EndpointSpec.Ports']);
  assert.deepEqual(paths(on(80, 8080), on(80, 8080)), []);
  assert.deepEqual(paths(on(80), on(81)), ['EndpointSpec.Ports[80/tcp].PublishedPort']);
});

test("lists without names are compared whole, in their order; users' maps key by key", () => {
  assert.deepEqual(specDifferences(spec({}, { Args: ['a', 'b'] }), spec({}, { Args: ['b', 'a'] })), [
    { path: 'TaskTemplate.ContainerSpec.Args', before: ['a', 'b'], after: ['b', 'a'] },
  ]);
  // a key of the user's is no field with a default
  const labels = (Mode: string): ServiceSpec => spec({ Labels: { Mode, same: 'x' } });
  assert.deepEqual(specDifferences(labels('vip'), labels('any')), [
    { path: 'Labels[Mode]', before: 'vip', after: 'any' },
  ]);
  assert.deepEqual(specDifferences(spec({}), labels('vip')), [
    { path: 'Labels[Mode]', after: 'vip' },
    { path: 'Labels[same]', after: 'x' },
  ]);
});
