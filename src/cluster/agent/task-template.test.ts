import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assignedTask } from './task-builder.ts';
import { expandTemplate } from './task-template.ts';

const task = assignedTask({ serviceLabels: { tier: 'front', 'a.b': 'dotted' } });

for (const [text, expected] of [
  ['nothing to do', 'nothing to do'],
  ['{{.Service.ID}}', 'service000000000000000000'],
  ['{{ .Service.Name }}!', 'web!'],
  ['{{.Service.Labels.tier}}', 'front'],
  ['{{index .Service.Labels "a.b"}}', 'dotted'],
  ['<{{index .Service.Labels "none"}}>', '<>'],
  ['{{index .Service.Labels "toString"}}', ''],
  ['{{.Node.ID}}', 'node000000000000000000000'],
  ['{{.Node.Hostname}}', 'host-a'],
  ['{{.Task.ID}} {{.Task.Slot}}', 'task00000000000000000000a 1'],
  ['{{.Task.Name}}', 'web.1.task00000000000000000000a'],
  ['{"json":{"a":1}}', '{"json":{"a":1}}'],
] as const) {
  test(`${text} is ${JSON.stringify(expected)}`, () => {
    assert.equal(expandTemplate(text, task), expected);
  });
}

test('what a label says is not expanded again', () => {
  const nested = assignedTask({ serviceLabels: { x: '{{.Task.ID}}' } });
  assert.equal(expandTemplate('{{.Service.Labels.x}}', nested), '{{.Task.ID}}');
});

for (const text of ['{{.Task.Nme}}', '{{secret "x"}}', '{{}}', '{{if .Task.ID}}']) {
  test(`${text} is refused by name`, () => {
    assert.throws(
      () => expandTemplate(text, task),
      (error: Error) => error.message.includes(text),
    );
  });
}
