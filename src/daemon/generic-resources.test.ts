import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGenericResources } from './generic-resources.ts';

test('numbers and names', () => {
  assert.deepEqual(parseGenericResources(['NVIDIA-GPU=UUID1', 'NVIDIA-GPU=UUID2', 'SSD=3']), [
    { NamedResourceSpec: { Kind: 'NVIDIA-GPU', Value: 'UUID1' } },
    { NamedResourceSpec: { Kind: 'NVIDIA-GPU', Value: 'UUID2' } },
    { DiscreteResourceSpec: { Kind: 'SSD', Value: 3 } },
  ]);
  assert.deepEqual(parseGenericResources([]), []);
});

for (const [entries, message] of [
  [['GPU'], /GPU is not NAME=VALUE/],
  [['=3'], /=3 is not NAME=VALUE/],
  [['GPU='], /GPU= is not NAME=VALUE/],
  [['SSD=0'], /SSD=0: there has to be/],
  [['SSD=1', 'SSD=2'], /SSD is given more than once/],
  [['GPU=1', 'GPU=UUID'], /GPU is given both/],
  [['GPU=a', 'GPU=a'], /GPU=a is given twice/],
] as const) {
  test(`${entries.join(' ')} is refused`, () => {
    assert.throws(() => parseGenericResources(entries), { kind: 'invalid', message });
  });
}
