/** One field that is not what it is to be; `before` or `after` is left out where there is nothing. */
export interface FieldChange {
  /** Such as `TaskTemplate.ContainerSpec.Env[LOG_LEVEL]`, in the words of Docker's API. */
  path: string;
  before?: unknown;
  after?: unknown;
}

export interface PlannedChange extends FieldChange {
  /** The last release says the same as what is asked for: somebody has changed the cluster since. */
  drift: boolean;
}

/** A task that a deployment ends or replaces, and where it is now. */
export interface PlannedTask {
  /** `shop_web.1` */
  name: string;
  /** Host name; empty for one that is on none yet. */
  node: string;
  state: string;
}

/** `recreate`: ended first, then made anew, as its mode cannot be changed. */
export type ServiceAction = 'create' | 'update' | 'recreate' | 'remove' | 'none';

export interface ServicePlan {
  name: string;
  action: ServiceAction;
  changes: PlannedChange[];
  /** Replaced one after the other as the service's update says. */
  restarts: PlannedTask[];
  /** Ended and not replaced. */
  ends: PlannedTask[];
  /** Tasks that are made in places where none is. */
  starts: number;
  order: 'start-first' | 'stop-first';
  /** Services that have to run (or be completed) before this one is touched. */
  after: string[];
  /** Why some of its tasks would find no node now. */
  misfit?: string;
}

export interface ObjectPlan {
  kind: 'network' | 'secret' | 'config';
  name: string;
  action: 'create' | 'remove';
}

/** An object as a plan found it. */
export interface Basis {
  kind: 'release' | 'service' | 'network' | 'secret' | 'config';
  name: string;
  /** The revision of its last write; 0 for what is not there. */
  version: number;
}

/** What a deployment would do, by the state of now. */
export interface StackPlan {
  stack: string;
  /** The number of the newest release; 0 where there is none. */
  release: number;
  objects: ObjectPlan[];
  services: ServicePlan[];
  /** By the names that the stack gives: images with the digests that they have now. */
  images: Record<string, string>;
  /** What the deployment would be refused for, or would wait for. */
  problems: string[];
  warnings: string[];
  basis: Basis[];
}
