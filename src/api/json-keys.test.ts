import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { canonicalKeys } from './json-keys.ts';
import { serviceSpecSchema } from './service-request.ts';

const schema = z
  .object({
    Name: z.string().nullish(),
    Labels: z.record(z.string(), z.string()).nullish(),
    Items: z.array(z.object({ Value: z.number() })).nullish(),
    Either: z.union([z.string(), z.object({ Kind: z.string() })]).optional(),
  })
  .transform(({ Name }) => Name);

test('keys are read in any case, maps keep theirs, what is unknown stays', () => {
  const read = canonicalKeys(schema, {
    name: 'a',
    labels: { name: 'b', Value: 'c' },
    ITEMS: [{ value: 1 }, { Value: 2 }],
    either: { kind: 'x' },
    odd: { name: 1 },
  });
  assert.deepEqual(read, {
    Name: 'a',
    Labels: { name: 'b', Value: 'c' },
    Items: [{ Value: 1 }, { Value: 2 }],
    Either: { Kind: 'x' },
    odd: { name: 1 },
  });
});

test('the right spelling wins over another one; what is no object is left alone', () => {
  assert.deepEqual(canonicalKeys(schema, { name: 'a', Name: 'b', NAME: 'c' }), {
    name: 'a',
    Name: 'b',
    NAME: 'c',
  });
  for (const value of [undefined, null, 1, 'x', []]) assert.equal(canonicalKeys(schema, value), value);
});

test('a service as docker for Python sends it', () => {
  const sent = {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'bb' } },
    Mode: { replicated: { Replicas: 2 } },
  };
  assert.deepEqual(serviceSpecSchema.parse(canonicalKeys(serviceSpecSchema, sent)).Mode, {
    Replicated: { Replicas: 2 },
  });
});
