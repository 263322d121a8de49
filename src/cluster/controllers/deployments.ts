import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ReleaseRecord } from '#model/release.ts';
import { STACK_LABEL } from '#model/stack.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { Controller, Decision, DecisionContext } from './controller.ts';
import { NOTHING } from './controller.ts';
import { DeploymentPlan } from './deployment-plan.ts';

/**
 * Brings stacks to their newest releases: services in waves, each when those it depends on run; at last it removes what the release
 * does not have. Keys are names of stacks. It goes on where another leader stopped: what it has done is in the release's record.
 *
 * Invariants: a service is written once by a release, and what becomes of it is only watched; when one fails, nothing more is written,
 * and what runs stays. Only the newest release of a stack is looked at.
 */
export class Deployments implements Controller {
  readonly name = 'deployments';
  readonly #fits: (node: NodeRecord, template: TaskSpec) => boolean;
  /** Stack → the numbers of its releases. */
  readonly #numbers = new Map<string, Set<number>>();
  /** Stacks whose newest release is being deployed. */
  readonly #deploying = new Set<string>();

  /** `fits`: whether a task may be on a node by its constraints and platform. */
  constructor(o: { fits: (node: NodeRecord, template: TaskSpec) => boolean }) {
    this.#fits = o.fits;
  }

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    switch (change.table) {
      case 'release':
        yield* this.#observe(change, view);
        return;
      case 'service':
        yield* this.#ifDeploying(change.after?.Spec.Labels ?? change.before?.Spec.Labels);
        return;
      case 'task': {
        if (this.#deploying.size === 0) return;
        const service = change.after?.ServiceID ?? change.before?.ServiceID ?? '';
        yield* this.#ifDeploying(view.get('service', service)?.Spec.Labels);
        return;
      }
      case 'node':
        yield* this.#deploying;
        return;
      default:
        return;
    }
  }

  reconcile(view: ClusterView, key: string, context: DecisionContext): Decision {
    const release = this.#newest(view, key);
    if (release?.status.State !== 'deploying') return NOTHING;
    return new DeploymentPlan({ view, release, fits: this.#fits, context }).decision();
  }

  *#observe(change: Extract<ViewChange, { table: 'release' }>, view: ClusterView): Iterable<string> {
    const { stack, number } = change.after ?? change.before ?? { stack: '', number: 0 };
    const numbers = this.#numbers.get(stack) ?? new Set();
    if (change.after === undefined) numbers.delete(number);
    else numbers.add(number);
    if (numbers.size === 0) this.#numbers.delete(stack);
    else this.#numbers.set(stack, numbers);
    if (this.#newest(view, stack)?.status.State !== 'deploying') {
      this.#deploying.delete(stack);
      return;
    }
    this.#deploying.add(stack);
    yield stack;
  }

  *#ifDeploying(labels: Readonly<Record<string, string>> | undefined): Iterable<string> {
    const stack = labels?.[STACK_LABEL.namespace];
    if (stack !== undefined && this.#deploying.has(stack)) yield stack;
  }

  #newest(view: ClusterView, stack: string): ReleaseRecord | undefined {
    const number = Math.max(0, ...(this.#numbers.get(stack) ?? []));
    return view.get('release', `${stack}.${number}`);
  }
}
