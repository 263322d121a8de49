import type { AssignedTask, TaskFile } from '#cluster/agent/assigned-task.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { notFound } from '#model/errors.ts';
import type { SecretRecord } from '#model/secret.ts';
import type { ServiceRecord } from '#model/service.ts';
import type { NetworkKey } from '#model/swarm.ts';
import { type DesiredTaskState, isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import type { FileTarget, TaskSpec } from '#model/task-spec.ts';

/** What it takes to make an assignment of a record. */
export interface AssignmentSources {
  /** A secret's content, base64. Throws when its key is not here. */
  openSecret(secret: SecretRecord): string;
  /** `X-Registry-Auth` of a service, base64url. */
  openRegistryAuth(sealed: string, serviceId: string): string;
  /** A key of encrypted networks, base64. Throws when the managers' key is not here. */
  openNetworkKey(key: NetworkKey): string;
  isSingleWriter(service: ServiceRecord, template: TaskSpec): boolean;
}

/** Docker's, for files that say nothing of it. */
const DEFAULT_MODE = 0o444;

/**
 * A task as its node gets it; undefined when its revision is gone, with which nobody can run it. Throws for one that is still to be
 * prepared and of which something is missing, such as a secret: it must not run without.
 */
export function assignmentOf(
  view: ClusterView,
  task: TaskRecord,
  desiredState: DesiredTaskState,
  sources: AssignmentSources,
): Omit<AssignedTask, 'singleWriter' | 'confirmFence'> | undefined {
  const service = view.get('service', task.ServiceID);
  const revision = view.get('revision', `${task.ServiceID}.${task.revision}`);
  if (revision === undefined) return undefined;
  const node = view.get('node', task.NodeID);
  // what has ended, or is about to, needs no secrets any more
  const isEnding = desiredState === 'shutdown' || desiredState === 'remove' || isTerminal(task.Status.State);
  const isMade = stateRank(task.Status.State) >= stateRank('ready');
  return {
    id: task.ID,
    serviceId: task.ServiceID,
    serviceName: service?.Spec.Name ?? task.ServiceID,
    serviceLabels: service?.Spec.Labels ?? {},
    slot: task.Slot,
    nodeId: task.NodeID,
    nodeHostname: node?.Description?.Hostname ?? task.NodeID,
    desiredState,
    state: task.Status.State,
    spec: revision.template,
    networks: task.networks,
    hostPorts: (revision.endpoint?.Ports ?? []).filter(({ PublishMode }) => PublishMode === 'host'),
    secrets: isEnding ? [] : secretsOf(view, revision.template, { ...sources, isMade }),
    configs: isEnding ? [] : configsOf(view, revision.template, isMade),
    ...(task.AssignedGenericResources === undefined
      ? {}
      : { genericResources: task.AssignedGenericResources }),
    ...registryAuthOf(service, task, sources),
  };
}

/** What the service's image was asked for with, which differs between its revisions. */
function registryAuthOf(
  service: ServiceRecord | undefined,
  task: TaskRecord,
  sources: AssignmentSources,
): { registryAuth?: string } {
  const sealed =
    service?.revision === task.revision ? service.sealedRegistryAuth : service?.previousSealedRegistryAuth;
  return sealed === undefined ? {} : { registryAuth: sources.openRegistryAuth(sealed, task.ServiceID) };
}

function secretsOf(
  view: ClusterView,
  template: TaskSpec,
  o: Pick<AssignmentSources, 'openSecret'> & { isMade: boolean },
): TaskFile[] {
  return (template.ContainerSpec.Secrets ?? []).flatMap(({ SecretID, SecretName, File }) => {
    const secret = view.get('secret', SecretID);
    if (secret === undefined) return missing('secret', SecretName, o.isMade);
    try {
      return [{ id: SecretID, target: targetOf(File, SecretName), data: o.openSecret(secret) }];
    } catch (error) {
      // it may run with what it was made with: that it cannot is not to be said
      if (o.isMade) return [];
      throw error;
    }
  });
}

function configsOf(view: ClusterView, template: TaskSpec, isMade: boolean): TaskFile[] {
  return (template.ContainerSpec.Configs ?? []).flatMap(({ ConfigID, ConfigName, File, Runtime }) => {
    if (Runtime !== undefined) return [];
    const config = view.get('config', ConfigID);
    if (config === undefined) return missing('config', ConfigName, isMade);
    return [{ id: ConfigID, target: targetOf(File, ConfigName), data: config.Spec.Data }];
  });
}

/** A container that is there already has what it was made with. */
function missing(kind: 'secret' | 'config', name: string, isMade: boolean): [] {
  if (isMade) return [];
  throw notFound(`${kind} ${name} is not there any more: create it, or take it out of the service`);
}

function targetOf(file: FileTarget | undefined, name: string): FileTarget {
  return file ?? { Name: name, UID: '0', GID: '0', Mode: DEFAULT_MODE };
}
