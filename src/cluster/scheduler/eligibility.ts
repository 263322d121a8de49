import type { NodeRecord } from '#model/node.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import { type Constraint, parseConstraints } from './constraint.ts';
import { runsOn } from './platform.ts';

/** Which nodes a task may be on by what they are, whatever they have to do: constraints and platforms. */
export class NodeEligibility {
  /** Templates do not change: each is read once. */
  readonly #constraints = new WeakMap<TaskSpec, readonly Constraint[]>();

  /** True where every constraint holds and the node's platform is one of those asked for, if any is. */
  fits(node: NodeRecord, template: TaskSpec): boolean {
    const platforms = template.Placement?.Platforms ?? [];
    if (!this.#constraintsOf(template).every(({ holds }) => holds(node))) return false;
    if (platforms.length === 0 || node.Description === undefined) return true;
    const { Platform } = node.Description;
    return platforms.some((asked) => runsOn(asked, Platform));
  }

  #constraintsOf(template: TaskSpec): readonly Constraint[] {
    const known = this.#constraints.get(template);
    if (known !== undefined) return known;
    const read = parseConstraints(template.Placement?.Constraints ?? []);
    this.#constraints.set(template, read);
    return read;
  }
}
