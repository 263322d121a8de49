import { isDeepStrictEqual } from 'node:util';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import type { ServiceRecord, ServiceRevision, ServiceSpec } from '#model/service.ts';
import { plainSpec } from './plain-spec.ts';
import { isJob, modeName } from './service-spec-check.ts';

export interface Change {
  readonly view: ClusterView;
  /** RFC 3339. */
  readonly now: string;
  /** Sealed; undefined for an image that anybody may pull. */
  readonly sealedRegistryAuth: string | undefined;
}

/** A new service and its first revision. */
export function newService(id: string, spec: ServiceSpec, o: Omit<Change, 'view'>): Write[] {
  const put: ServiceRecord = {
    ID: id,
    CreatedAt: o.now,
    UpdatedAt: o.now,
    Spec: spec,
    revision: 1,
    Endpoint: {},
    ...(isJob(spec.Mode) ? { JobStatus: { JobIteration: 0, LastExecution: o.now } } : {}),
    ...(o.sealedRegistryAuth === undefined ? {} : { sealedRegistryAuth: o.sealedRegistryAuth }),
  };
  return [
    { table: 'service', put },
    { table: 'revision', put: revisionOf(put, o.now) },
  ];
}

/**
 * The service with another specification. A template or an endpoint that differs is a new revision; what it was before is kept for a
 * rollback either way. A job runs again with every change, whatever it is: that is what Swarm's users run one again with.
 */
export function changedService(service: ServiceRecord, spec: ServiceSpec, o: Change): Write[] {
  checkUnchangeable(service, spec);
  const {
    UpdateStatus: running,
    sealedRegistryAuth: _auth,
    previousSealedRegistryAuth: _old,
    ...kept
  } = service;
  const put: ServiceRecord = {
    ...kept,
    UpdatedAt: o.now,
    Spec: spec,
    PreviousSpec: service.Spec,
    previousRevision: service.revision,
    ...auths(o.sealedRegistryAuth, service.sealedRegistryAuth),
  };
  runAgain(put, o.now);
  if (isSameRevision(service.Spec, spec)) {
    // what is on its way goes on: it would not be watched for failing any more
    const isRunning = running?.State === 'updating' || running?.State === 'rollback_started';
    return [{ table: 'service', put: isRunning ? { ...put, UpdateStatus: running } : put }];
  }
  put.revision = nextRevision(o.view, service);
  return [
    { table: 'service', put },
    { table: 'revision', put: revisionOf(put, o.now) },
  ];
}

/** The service as it was before its last change: the older revision is deployed again. Another rollback undoes it. */
export function rolledBackService(service: ServiceRecord, o: Omit<Change, 'sealedRegistryAuth'>): Write[] {
  const { PreviousSpec, previousRevision, sealedRegistryAuth, previousSealedRegistryAuth, ...kept } = service;
  if (PreviousSpec === undefined || previousRevision === undefined)
    throw invalid(`service ${service.ID} does not have a previous spec`);
  const put: ServiceRecord = {
    ...kept,
    UpdatedAt: o.now,
    Spec: PreviousSpec,
    revision: previousRevision,
    PreviousSpec: service.Spec,
    previousRevision: service.revision,
    ...auths(previousSealedRegistryAuth, sealedRegistryAuth),
    UpdateStatus: {
      State: 'rollback_started',
      StartedAt: o.now,
      Message: 'manually requested rollback',
      revision: previousRevision,
    },
  };
  runAgain(put, o.now);
  const revision = revisionOf(put, o.now);
  // kept as long as PreviousSpec names it; made again where it is gone all the same
  return o.view.get('revision', revision.ID) === undefined
    ? [
        { table: 'service', put },
        { table: 'revision', put: revision },
      ]
    : [{ table: 'service', put }];
}

function auths(
  now: string | undefined,
  before: string | undefined,
): Pick<ServiceRecord, 'sealedRegistryAuth' | 'previousSealedRegistryAuth'> {
  return {
    ...(now === undefined ? {} : { sealedRegistryAuth: now }),
    ...(before === undefined ? {} : { previousSealedRegistryAuth: before }),
  };
}

function checkUnchangeable({ Spec }: ServiceRecord, spec: ServiceSpec): void {
  if (Spec.Name !== spec.Name) throw notImplemented('renaming services is not supported');
  if (modeName(Spec.Mode) !== modeName(spec.Mode)) throw notImplemented('service mode change is not allowed');
}

function isSameRevision(a: ServiceSpec, b: ServiceSpec): boolean {
  return (
    isDeepStrictEqual(plainSpec(a.TaskTemplate), plainSpec(b.TaskTemplate)) &&
    isDeepStrictEqual(plainSpec(a.EndpointSpec), plainSpec(b.EndpointSpec))
  );
}

/** A number that no revision has; after rollbacks the highest one is neither the current nor the previous one always. */
function nextRevision(view: ClusterView, service: ServiceRecord): number {
  let next = Math.max(service.revision, service.previousRevision ?? 0) + 1;
  while (view.get('revision', `${service.ID}.${next}`) !== undefined) next++;
  return next;
}

function runAgain(service: ServiceRecord, now: string): void {
  if (!isJob(service.Spec.Mode)) return;
  const JobIteration = (service.JobStatus?.JobIteration ?? 0) + 1;
  service.JobStatus = { JobIteration, LastExecution: now };
}

function revisionOf(service: ServiceRecord, now: string): ServiceRevision {
  const { EndpointSpec, TaskTemplate } = service.Spec;
  return {
    ID: `${service.ID}.${service.revision}`,
    CreatedAt: now,
    UpdatedAt: now,
    serviceId: service.ID,
    number: service.revision,
    template: TaskTemplate,
    ...(EndpointSpec === undefined ? {} : { endpoint: EndpointSpec }),
  };
}
