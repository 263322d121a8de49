import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerRecord } from '#model/container.ts';
import { notFound } from '#model/errors.ts';
import type { Filters } from '#model/filters.ts';
import { listContainers } from './container-list.ts';
import { containerRecord } from './record-builder.ts';

const base = containerRecord();
const running: ContainerRecord = {
  ...base,
  id: 'a1'.repeat(32),
  name: 'web-1',
  created: '2026-01-02T00:00:00Z',
  imageId: 'sha256:web',
  config: { ...base.config, Labels: { app: 'web', tier: 'front' }, ExposedPorts: { '80/tcp': {} } },
  ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }] },
  state: { ...base.state, Status: 'running', Running: true },
};
const exited: ContainerRecord = {
  ...base,
  id: 'b2'.repeat(32),
  name: 'job',
  created: '2026-01-01T00:00:00Z',
  mounts: [
    { Type: 'volume', Name: 'data', Source: '/x', Destination: '/data', Mode: '', RW: true, Propagation: '' },
  ],
  state: { ...base.state, Status: 'exited', ExitCode: 3 },
};

function names(filters: Filters, o: { all?: boolean; limit?: number } = {}): string[] {
  const found = listContainers(
    [exited, running],
    { all: o.all ?? true, limit: o.limit ?? 0, filters },
    {
      imageId: (reference) => (reference === 'web' ? 'sha256:web' : undefined),
      container: (reference) => {
        const record = [exited, running].find(({ name }) => name === reference);
        if (record === undefined) throw notFound(`No such container: ${reference}`);
        return record;
      },
    },
  );
  return found.map(({ name }) => name);
}

test('what runs is listed, all of it on request, newest first', () => {
  assert.deepEqual(names({}, { all: false }), ['web-1']);
  assert.deepEqual(names({}), ['web-1', 'job']);
  assert.deepEqual(names({}, { all: false, limit: 2 }), ['web-1', 'job']);
  assert.deepEqual(names({}, { limit: 1 }), ['web-1']);
});

test('every filter narrows the list', () => {
  const cases: [Filters, string[]][] = [
    [{ id: ['b2b2'] }, ['job']],
    [{ name: ['^/web-\\d$'] }, ['web-1']],
    [{ name: ['web', 'job'] }, ['web-1', 'job']],
    [{ label: ['app=web', 'tier'] }, ['web-1']],
    [{ label: ['app=web', 'nothing'] }, []],
    [{ status: ['exited'] }, ['job']],
    [{ exited: ['3'] }, ['job']],
    [{ exited: ['0'] }, []],
    [{ ancestor: ['web'] }, ['web-1']],
    [{ volume: ['data'] }, ['job']],
    [{ volume: ['/data'] }, ['job']],
    [{ publish: ['8080'] }, ['web-1']],
    [{ publish: ['8000-9000/udp'] }, []],
    [{ expose: ['80/tcp'] }, ['web-1']],
    [{ since: ['job'] }, ['web-1']],
    [{ before: ['web-1'] }, ['job']],
    [{ health: ['none'] }, ['web-1', 'job']],
    [{ 'is-task': ['true'] }, []],
  ];
  for (const [filters, expected] of cases)
    assert.deepEqual(names(filters), expected, JSON.stringify(filters));
});

test('what is no filter is refused by name', () => {
  const refused: [Filters, string][] = [
    [{ colour: ['red'] }, "invalid filter 'colour'"],
    [{ status: ['asleep'] }, "invalid filter 'status=asleep'"],
    [{ name: ['('] }, "invalid filter 'name=('"],
    [{ since: ['nobody'] }, 'No such container: nobody'],
  ];
  for (const [filters, message] of refused) assert.throws(() => names(filters), { message });
});
