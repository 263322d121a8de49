import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ServiceRecord } from '#model/service.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { Controller, Decision, DecisionContext } from './controller.ts';
import { NOTHING } from './controller.ts';
import { decideGlobalJob, decideReplicatedJob } from './jobs.ts';
import { PlacePlan } from './place-plan.ts';
import { modeOf } from './service-defaults.ts';
import { globalPlaces, replicatedPlaces } from './service-places.ts';
import { desire } from './task-places.ts';
import { decideUpdate } from './update.ts';

/** What an orchestrator is told about nodes and services by those who know. */
export interface OrchestratorRules {
  /** True for a service of which never two tasks may run at once. */
  isSingleWriter(service: ServiceRecord, template: TaskSpec): boolean;
  /** True when a task may be on a node by its constraints and platform, whatever room there is. */
  fits(node: NodeRecord, template: TaskSpec): boolean;
  /** How many milliseconds are left until what ran on a node that is lost or gone as single writer is surely over. */
  fencedInMs(nodeId: string): number;
}

/**
 * Makes the tasks that services want, replaces those that ended or whose node is lost, brings them to the service's revision, and ends
 * those that are not wanted. Keys are service IDs.
 *
 * Invariants: a place has one wanted task, or two while one takes the other's place by start-first; a task that takes the place of one
 * that runs is let run (`ready` → `running`) only when that one is over; a wish never goes back; a task is never
 * given another node, slot or revision.
 */
export class Orchestrator implements Controller {
  readonly name = 'orchestrator';
  readonly #rules: OrchestratorRules;

  constructor(rules: OrchestratorRules) {
    this.#rules = rules;
  }

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    switch (change.table) {
      case 'service':
        yield change.id;
        return;
      case 'task': {
        const service = change.after?.ServiceID ?? change.before?.ServiceID;
        if (service !== undefined) yield service;
        return;
      }
      case 'node':
        yield* this.#servicesOfNode(change, view);
        return;
      default:
        return;
    }
  }

  /** Those that have tasks there, and, where the node may have come into question, those that are on every node. */
  *#servicesOfNode(change: Extract<ViewChange, { table: 'node' }>, view: ClusterView): Iterable<string> {
    const { id, before, after } = change;
    if (before !== undefined && after !== undefined && looksAlike(before, after)) return;
    const services = new Set<string>();
    for (const { ServiceID } of view.tasksOnNode(id)) services.add(ServiceID);
    yield* services;
    for (const service of view.all('service')) {
      const mode = modeOf(service.Spec);
      if (mode === 'global' || mode === 'global-job') yield service.ID;
    }
  }

  reconcile(view: ClusterView, key: string, context: DecisionContext): Decision {
    const service = view.get('service', key);
    if (service === undefined) return endOrphans(view, key, context);
    if (service.removing === true) return this.#remove(view, service, context);
    const template = view.get('revision', `${service.ID}.${service.revision}`)?.template;
    if (template === undefined) return NOTHING;
    const plan = new PlacePlan({ view, service, template, rules: this.#rules, context });
    switch (modeOf(service.Spec)) {
      case 'replicated':
        replicatedPlaces(plan);
        decideUpdate(plan);
        break;
      case 'global':
        globalPlaces(plan);
        decideUpdate(plan);
        break;
      case 'replicated-job':
        decideReplicatedJob(plan);
        break;
      case 'global-job':
        decideGlobalJob(plan);
        break;
    }
    return plan.decision();
  }

  #remove(view: ClusterView, service: ServiceRecord, context: DecisionContext): Decision {
    const tasks = [...view.tasksOfService(service.ID)];
    if (tasks.length === 0) return { writes: [{ table: 'service', delete: service.ID }] };
    return removeAll(tasks, context);
  }
}

/** Tasks whose service is gone have no reason to be. */
function endOrphans(view: ClusterView, serviceId: string, context: DecisionContext): Decision {
  return removeAll([...view.tasksOfService(serviceId)], context);
}

function removeAll(
  tasks: readonly Parameters<typeof desire>[0][],
  { nowMs, limit }: DecisionContext,
): Decision {
  const writes = tasks
    .map((task) => desire(task, 'remove', nowMs))
    .filter((write): write is Write => write !== undefined);
  return { writes: writes.slice(0, limit) };
}

/** True when nothing changed by which a task would have to go, or could come. */
function looksAlike(a: NodeRecord, b: NodeRecord): boolean {
  return (
    a.Status.State === b.Status.State &&
    JSON.stringify(a.Spec) === JSON.stringify(b.Spec) &&
    JSON.stringify(whatConstraintsName(a)) === JSON.stringify(whatConstraintsName(b))
  );
}

function whatConstraintsName({ Description }: NodeRecord): unknown[] {
  return [Description?.Hostname, Description?.Platform, Description?.Engine, Description?.Engine.Labels];
}
