import { INGRESS_LABEL } from '#cluster/controllers/service-networks.ts';
import { invalid } from '#model/errors.ts';
import type { EndpointSpec, PortConfig, ServiceMode, ServiceSpec, UpdateConfig } from '#model/service.ts';
import { checkTaskSpec } from './task-spec-check.ts';

/** A DNS label that may also hold underscores. */
const SERVICE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?$/;
const LONGEST_SERVICE_NAME = 63;
const LAST_PORT = 65_535;

export type ModeName = keyof ServiceMode;

/** The mode that is set; where none is, a service is replicated. */
export function modeName(mode: ServiceMode | undefined): ModeName {
  const names = ['Replicated', 'Global', 'ReplicatedJob', 'GlobalJob'] as const;
  return names.find((name) => mode?.[name] !== undefined) ?? 'Replicated';
}

export function isJob(mode: ServiceMode | undefined): boolean {
  const name = modeName(mode);
  return name === 'ReplicatedJob' || name === 'GlobalJob';
}

/** A specification with what Docker fills in when it takes one: the mode and its numbers, and networks where they belong. */
export function completeSpec({ Networks, ...spec }: ServiceSpec): ServiceSpec {
  const TaskTemplate =
    Networks === undefined || (spec.TaskTemplate.Networks ?? []).length > 0
      ? spec.TaskTemplate
      : { ...spec.TaskTemplate, Networks };
  return { ...spec, TaskTemplate, Mode: completeMode(spec.Mode) };
}

function completeMode(mode: ServiceMode | undefined): ServiceMode {
  if (Object.values(mode ?? {}).filter((each) => each !== undefined).length > 1)
    throw invalid('must specify only one service mode');
  switch (modeName(mode)) {
    case 'Replicated':
      return { Replicated: { Replicas: mode?.Replicated?.Replicas ?? 1 } };
    case 'Global':
      return { Global: {} };
    case 'ReplicatedJob': {
      const MaxConcurrent = mode?.ReplicatedJob?.MaxConcurrent ?? 1;
      const TotalCompletions = mode?.ReplicatedJob?.TotalCompletions ?? MaxConcurrent;
      return { ReplicatedJob: { MaxConcurrent, TotalCompletions } };
    }
    case 'GlobalJob':
      return { GlobalJob: {} };
  }
}

/** What can be said of a specification without looking at the cluster: `invalid` in Docker's words. */
export function checkServiceSpec(spec: ServiceSpec): void {
  checkServiceName(spec.Name);
  checkTaskSpec(spec.TaskTemplate);
  checkMode(spec);
  checkUpdateConfig('update', spec.UpdateConfig);
  checkUpdateConfig('rollback', spec.RollbackConfig);
  if (spec.EndpointSpec !== undefined) checkEndpoint(spec.EndpointSpec);
  const ingress = spec.Labels?.[INGRESS_LABEL] ?? 'mesh';
  if (ingress !== 'mesh' && ingress !== 'local')
    throw invalid(`label ${INGRESS_LABEL}: "${ingress}" is none: use local or mesh`);
}

function checkServiceName(name: string): void {
  if (name === '') throw invalid('name must be provided');
  if (name.length > LONGEST_SERVICE_NAME)
    throw invalid(`name must be ${LONGEST_SERVICE_NAME} characters or fewer`);
  if (!SERVICE_NAME.test(name)) throw invalid('name must be valid as a DNS name component');
}

function checkMode(spec: ServiceSpec): void {
  const { Replicated, ReplicatedJob } = spec.Mode ?? {};
  if ((Replicated?.Replicas ?? 0) < 0) throw invalid('Number of replicas must be non-negative');
  if ((ReplicatedJob?.MaxConcurrent ?? 0) < 0) throw invalid('Maximum concurrent jobs must not be negative');
  if ((ReplicatedJob?.TotalCompletions ?? 0) < 0) throw invalid('Total completed jobs must not be negative');
  if (isJob(spec.Mode) && spec.UpdateConfig !== undefined)
    throw invalid('Jobs may not have an update config');
}

function checkUpdateConfig(which: 'update' | 'rollback', config: UpdateConfig | undefined): void {
  if (config === undefined) return;
  if ((config.Delay ?? 0) < 0) throw invalid(`TaskSpec: ${which}-delay cannot be negative`);
  if ((config.Monitor ?? 0) < 0) throw invalid(`TaskSpec: ${which}-monitor cannot be negative`);
  if ((config.Parallelism ?? 0) < 0) throw invalid(`TaskSpec: ${which}-parallelism cannot be negative`);
  const ratio = config.MaxFailureRatio ?? 0;
  if (ratio < 0 || ratio > 1)
    throw invalid(`TaskSpec: ${which}-maxfailureratio cannot be less than 0 or bigger than 1`);
  if (which === 'rollback' && config.FailureAction === 'rollback')
    throw invalid('TaskSpec: a rollback that fails cannot be rolled back: use continue or pause');
}

function checkEndpoint({ Mode, Ports = [] }: EndpointSpec): void {
  const published = new Set<string>();
  for (const port of Ports) {
    checkPort(port);
    if (Mode === 'dnsrr' && (port.PublishMode ?? 'ingress') === 'ingress')
      throw invalid("EndpointSpec: port published with ingress mode can't be used with dnsrr mode");
    if ((port.PublishedPort ?? 0) === 0) continue;
    const key = `${port.Protocol ?? 'tcp'}/${port.PublishedPort}`;
    if (published.has(key)) throw invalid('EndpointSpec: duplicate published ports provided');
    published.add(key);
  }
}

function checkPort({ TargetPort, PublishedPort = 0 }: PortConfig): void {
  if (TargetPort < 1 || TargetPort > LAST_PORT)
    throw invalid(`EndpointSpec: invalid target port ${TargetPort}: Must be from 1 to ${LAST_PORT}`);
  if (PublishedPort < 0 || PublishedPort > LAST_PORT)
    throw invalid(`EndpointSpec: invalid published port ${PublishedPort}: Must be from 0 to ${LAST_PORT}`);
}
