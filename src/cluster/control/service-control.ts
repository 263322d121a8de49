import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import { invalid } from '#model/errors.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import { nameTaken, outOfSequence } from './control-errors.ts';
import { type ControlPorts, registryAuthPurpose } from './control-ports.ts';
import { findRecord } from './find-record.ts';
import type { RecordWriter } from './record-writer.ts';
import { changedService, newService, rolledBackService } from './service-change.ts';
import { resolveReferences } from './service-references.ts';
import { checkServiceSpec, completeSpec, modeName } from './service-spec-check.ts';
import { type ServiceStatus, serviceStatus } from './service-status.ts';

export interface ServiceRequest {
  readonly spec: ServiceSpec;
  /** The client's `X-Registry-Auth`, as it came. */
  readonly registryAuth?: string;
  /** Pin the image to its digest first. */
  readonly queryRegistry?: boolean;
}

export interface ServiceUpdate extends ServiceRequest {
  /** Of the record that the client read. */
  readonly version: number;
  /** Deploys PreviousSpec again; `spec` is not looked at then. */
  readonly rollback?: boolean;
  /** Whose credentials are kept where no new ones are given; those of the current specification by default. */
  readonly registryAuthFrom?: 'spec' | 'previous-spec';
}

const MODES: Readonly<Record<string, string>> = {
  Replicated: 'replicated',
  Global: 'global',
  ReplicatedJob: 'replicated-job',
  GlobalJob: 'global-job',
};

/** Services as Docker's API asks for them. */
export class ServiceControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  /** `conflict` when the name is another's, `invalid` in Docker's words for what cannot be. Gives the ID. */
  async create(request: ServiceRequest): Promise<{ id: string; warnings: string[] }> {
    const { spec, warnings } = await this.#taken(request);
    const id = this.#ports.random.id();
    const sealedRegistryAuth = this.#seal(request.registryAuth, id);
    return await this.#writer.write((view) => {
      if (view.holderOf('service', spec.Name) !== undefined)
        throw nameTaken(`name conflicts with an existing object: service ${spec.Name}`);
      const resolved = this.#resolve(spec, view, undefined);
      return {
        writes: newService(id, resolved, { now: this.#now(), sealedRegistryAuth }),
        result: { id, warnings },
      };
    });
  }

  /** `invalid` ("update out of sequence") when the service is not any more what the client read. */
  async update(reference: string, request: ServiceUpdate): Promise<{ warnings: string[] }> {
    const { view } = this.#ports.follower;
    const { ID } = findRecord(view, 'service', reference);
    if (request.rollback === true) return await this.#rollBack(reference, request.version);
    const { spec, warnings } = await this.#taken(request);
    const given = this.#seal(request.registryAuth, ID);
    return await this.#writer.write((now) => {
      const service = this.#current(now, ID, request.version);
      const kept =
        request.registryAuthFrom === 'previous-spec'
          ? service.previousSealedRegistryAuth
          : service.sealedRegistryAuth;
      const change = { view: now, now: this.#now(), sealedRegistryAuth: given ?? kept };
      const writes = changedService(service, this.#resolve(spec, now, service.ID), change);
      return { writes, result: { warnings } };
    });
  }

  /** Its tasks are ended, then it goes; to clients it is gone at once. */
  async remove(reference: string): Promise<void> {
    await this.#writer.write((view) => {
      const service = findRecord(view, 'service', reference);
      const put = { ...service, removing: true, UpdatedAt: this.#now() };
      return { writes: [{ table: 'service', put }], result: undefined };
    });
  }

  inspect(reference: string): Versioned<ServiceRecord> {
    const { view } = this.#ports.follower;
    const record = findRecord(view, 'service', reference);
    return { record, revision: view.revisionOf('service', record.ID) };
  }

  /** Filters: `id` and `name` by their beginnings, `label`, `mode`. */
  list(filters: Filters): Versioned<ServiceRecord>[] {
    const { view } = this.#ports.follower;
    return [...view.all('service')]
      .filter((service) => service.removing !== true && matches(service, filters))
      .map((record) => ({ record, revision: view.revisionOf('service', record.ID) }));
  }

  /** How many of its tasks there are and should be. */
  status(service: ServiceRecord): ServiceStatus {
    return serviceStatus(service, this.#ports.follower.view.tasksOfService(service.ID));
  }

  isNameTaken(name: string): boolean {
    return this.#ports.follower.view.holderOf('service', name) !== undefined;
  }

  async #rollBack(reference: string, version: number): Promise<{ warnings: string[] }> {
    return await this.#writer.write((view) => {
      const service = this.#current(view, reference, version);
      // what it names may have gone since
      if (service.PreviousSpec !== undefined) this.#resolve(service.PreviousSpec, view, service.ID);
      return {
        writes: rolledBackService(service, { view, now: this.#now() }),
        result: { warnings: [] },
      };
    });
  }

  /** The specification, checked and completed as far as it can be without the cluster. */
  async #taken(request: ServiceRequest): Promise<{ spec: ServiceSpec; warnings: string[] }> {
    const spec = completeSpec(request.spec);
    checkServiceSpec(spec);
    const { resolveImage } = this.#ports;
    if (request.queryRegistry !== true || resolveImage === undefined) return { spec, warnings: [] };
    const { ContainerSpec, ...template } = spec.TaskTemplate;
    try {
      const Image = await resolveImage(ContainerSpec.Image, request.registryAuth);
      const TaskTemplate = { ...template, ContainerSpec: { ...ContainerSpec, Image } };
      return { spec: { ...spec, TaskTemplate }, warnings: [] };
    } catch {
      // a registry that does not answer now is no reason to refuse: the nodes ask it themselves
      return { spec, warnings: [unpinned(ContainerSpec.Image)] };
    }
  }

  #resolve(spec: ServiceSpec, view: ClusterView, serviceId: string | undefined): ServiceSpec {
    return resolveReferences(spec, { view, localNetwork: this.#ports.localNetwork, serviceId });
  }

  #current(view: ClusterView, reference: string, version: number): ServiceRecord {
    const service = findRecord(view, 'service', reference);
    if (view.revisionOf('service', service.ID) !== version) throw outOfSequence();
    return service;
  }

  #seal(registryAuth: string | undefined, id: string): string | undefined {
    if (registryAuth === undefined || registryAuth === '') return undefined;
    return this.#ports.sealer.seal(Buffer.from(registryAuth), registryAuthPurpose(id));
  }

  #now(): string {
    return new Date(this.#ports.clock.nowMs()).toISOString();
  }
}

function unpinned(image: string): string {
  return `image ${image} could not be accessed on a registry to record\nits digest. Each node will access ${image} independently,\npossibly leading to different nodes running different\nversions of the image.\n`;
}

function matches(service: ServiceRecord, filters: Filters): boolean {
  const some = (key: string, test: (value: string) => boolean): boolean =>
    filters[key] === undefined || filters[key].length === 0 || filters[key].some(test);
  for (const mode of filters['mode'] ?? []) {
    if (!Object.values(MODES).includes(mode)) throw invalid(`invalid filter 'mode=[${mode}]'`);
  }
  return (
    some('id', (prefix) => service.ID.startsWith(prefix)) &&
    some('name', (prefix) => service.Spec.Name.startsWith(prefix)) &&
    some('mode', (mode) => MODES[modeName(service.Spec.Mode)] === mode) &&
    matchesLabels(filters, service.Spec.Labels ?? {})
  );
}
