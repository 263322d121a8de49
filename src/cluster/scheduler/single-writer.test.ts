import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceMode } from '#model/service.ts';
import type { TaskMount } from '#model/task-spec.ts';
import { isSingleWriter } from './single-writer.ts';

const DATA: TaskMount = { Type: 'volume', Source: 'data', Target: '/data' };

function judge(o: {
  mode?: ServiceMode;
  mounts?: TaskMount[];
  label?: string;
  maxReplicas?: number;
}): boolean {
  const template = {
    ContainerSpec: { Image: 'db', Mounts: o.mounts ?? [] },
    Placement: { MaxReplicas: o.maxReplicas ?? 0 },
  };
  const Labels: Record<string, string> = o.label === undefined ? {} : { 'drover.single-writer': o.label };
  const Spec = {
    Name: 'db',
    TaskTemplate: template,
    Labels,
    ...(o.mode === undefined ? {} : { Mode: o.mode }),
  };
  return isSingleWriter({ Spec }, template);
}

test('one replica that writes a named volume is a single writer', () => {
  for (const [what, is, o] of [
    ['one replica with a volume', true, { mounts: [DATA] }],
    ['said so', true, { mode: { Replicated: { Replicas: 1 } }, mounts: [DATA] }],
    ['no volume', false, {}],
    ['read-only', false, { mounts: [{ ...DATA, ReadOnly: true }] }],
    ['anonymous', false, { mounts: [{ Type: 'volume', Target: '/data' }] }],
    ['a bind mount', false, { mounts: [{ ...DATA, Type: 'bind', Source: '/srv' }] }],
    ['none at the moment', true, { mode: { Replicated: { Replicas: 0 } }, mounts: [DATA] }],
    ['two replicas', false, { mode: { Replicated: { Replicas: 2 } }, mounts: [DATA] }],
    ['global', false, { mode: { Global: {} }, mounts: [DATA] }],
    ['a job', false, { mode: { ReplicatedJob: {} }, mounts: [DATA] }],
    ['one, and one a node', true, { maxReplicas: 1 }],
    ['two, and one a node', false, { maxReplicas: 1, mode: { Replicated: { Replicas: 2 } } }],
    ['labelled', true, { label: 'true', mode: { Replicated: { Replicas: 3 } } }],
    ['labelled, but global', false, { label: 'true', mode: { Global: {} } }],
    ['labelled as none', false, { label: 'false', mounts: [DATA] }],
  ] as const) {
    assert.equal(judge(structuredClone(o) as Parameters<typeof judge>[0]), is, what);
  }
});
