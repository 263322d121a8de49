import type { NodeRecord } from '#model/node.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import { meetsConstraints, meetsPlatforms } from './filters.ts';
import { requirementsOf, type TaskRequirements } from './task-requirements.ts';

/**
 * A function that says whether tasks may be on a node by what it is (constraints and platform), whatever room it has: it decides which
 * nodes a global service is on. It remembers what it read of a template as long as the template is there.
 */
export function nodeFit(): (node: NodeRecord, template: TaskSpec) => boolean {
  const known = new WeakMap<TaskSpec, TaskRequirements>();
  return (node, template) => {
    let need = known.get(template);
    if (need === undefined) {
      need = requirementsOf({ template }, () => false);
      known.set(template, need);
    }
    return meetsPlatforms(node, need) && meetsConstraints(node, need);
  };
}
