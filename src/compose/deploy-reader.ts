import { invalid } from '#model/errors.ts';
import type { EndpointSpec, UpdateConfig } from '#model/service.ts';
import type { GenericResource, Placement, TaskRestartPolicy } from '#model/task-spec.ts';
import type { ComposeValue } from './compose-file.ts';
import { checkKeys } from './supported-keys.ts';
import {
  bytes,
  duration,
  given,
  integer,
  list,
  map,
  nanoCpus,
  oneOf,
  reader,
  table,
  text,
  texts,
} from './value-reader.ts';

/** `deploy` of a service; what it says of a cluster is in the words of Docker's API. */
export interface Deploy {
  mode?: 'replicated' | 'global' | 'replicated-job' | 'global-job';
  replicas?: number;
  endpointMode?: NonNullable<EndpointSpec['Mode']>;
  labels?: Record<string, string>;
  placement?: Placement;
  limits?: { nanoCpus?: number; memoryBytes?: number; pids?: number };
  reservations?: { nanoCpus?: number; memoryBytes?: number; generic?: GenericResource[] };
  restartPolicy?: TaskRestartPolicy;
  updateConfig?: UpdateConfig;
  rollbackConfig?: UpdateConfig;
}

const MODES = ['replicated', 'global', 'replicated-job', 'global-job'] as const;

export function readDeploy(value: ComposeValue, service: string): Deploy {
  const what = `services.${service}.deploy`;
  checkKeys(value, 'deploy', what);
  const get = reader(value);
  return given({
    mode: get('mode', (found) => oneOf(found, MODES)),
    replicas: get('replicas', count),
    endpointMode: get('endpoint_mode', (found) => oneOf(found, ['vip', 'dnsrr'])),
    labels: get('labels', table),
    placement: get('placement', (found) => readPlacement(found, `${what}.placement`)),
    ...get('resources', (found) => readResources(found, `${what}.resources`)),
    restartPolicy: get('restart_policy', (found) => readRestartPolicy(found, `${what}.restart_policy`)),
    updateConfig: get('update_config', (found) => readUpdateConfig(found, `${what}.update_config`)),
    rollbackConfig: get('rollback_config', (found) => readUpdateConfig(found, `${what}.rollback_config`)),
  });
}

function count(value: ComposeValue): number {
  const number = integer(value);
  if (number < 0) throw invalid(`${value.place}: must not be negative`);
  return number;
}

function readPlacement(value: ComposeValue, what: string): Placement {
  checkKeys(value, 'placement', what);
  const get = reader(value);
  return given({
    Constraints: get('constraints', texts),
    Preferences: get('preferences', (found) =>
      list(found).map((each) => {
        checkKeys(each, 'preference', `${what}.preferences`);
        const spread = map(each).get('spread');
        if (spread === undefined) throw invalid(`${each.place}: spread is missing`);
        return { Spread: { SpreadDescriptor: text(spread) } };
      }),
    ),
    MaxReplicas: get('max_replicas_per_node', count),
  });
}

function readResources(value: ComposeValue, what: string): Pick<Deploy, 'limits' | 'reservations'> {
  checkKeys(value, 'resources', what);
  const get = reader(value);
  return given({
    limits: get('limits', (found) => {
      checkKeys(found, 'limits', `${what}.limits`);
      const limit = reader(found);
      return given({
        nanoCpus: limit('cpus', nanoCpus),
        memoryBytes: limit('memory', bytes),
        pids: limit('pids', integer),
      });
    }),
    reservations: get('reservations', (found) => {
      checkKeys(found, 'reservations', `${what}.reservations`);
      const reserved = reader(found);
      return given({
        nanoCpus: reserved('cpus', nanoCpus),
        memoryBytes: reserved('memory', bytes),
        generic: reserved('generic_resources', (all) => list(all).map((each) => readGeneric(each, what))),
      });
    }),
  });
}

function readGeneric(value: ComposeValue, what: string): GenericResource {
  checkKeys(value, 'generic resource', `${what}.reservations.generic_resources`);
  const get = reader(value);
  const read = <T>(found: ComposeValue, amount: (value: ComposeValue) => T): { Kind: string; Value: T } => {
    checkKeys(found, 'generic amount', `${what}.reservations.generic_resources`);
    const kind = map(found).get('kind');
    const number = map(found).get('value');
    if (kind === undefined || number === undefined)
      throw invalid(`${found.place}: kind and value are needed`);
    return { Kind: text(kind), Value: amount(number) };
  };
  const discrete = get('discrete_resource_spec', (found) => read(found, integer));
  if (discrete !== undefined) return { DiscreteResourceSpec: discrete };
  const named = get('named_resource_spec', (found) => read(found, text));
  if (named !== undefined) return { NamedResourceSpec: named };
  throw invalid(`${value.place}: discrete_resource_spec is missing`);
}

function readRestartPolicy(value: ComposeValue, what: string): TaskRestartPolicy {
  checkKeys(value, 'restart policy', what);
  const get = reader(value);
  return given({
    Condition: get('condition', (found) => oneOf(found, ['none', 'on-failure', 'any'])),
    Delay: get('delay', duration),
    MaxAttempts: get('max_attempts', count),
    Window: get('window', duration),
  });
}

function readUpdateConfig(value: ComposeValue, what: string): UpdateConfig {
  checkKeys(value, 'update config', what);
  const get = reader(value);
  return given({
    Parallelism: get('parallelism', count),
    Delay: get('delay', duration),
    FailureAction: get('failure_action', (found) => oneOf(found, ['continue', 'pause', 'rollback'])),
    Monitor: get('monitor', duration),
    MaxFailureRatio: get('max_failure_ratio', ratio),
    Order: get('order', (found) => oneOf(found, ['stop-first', 'start-first'])),
  });
}

function ratio(value: ComposeValue): number {
  const number = Number(text(value));
  if (!(number >= 0 && number <= 1)) throw invalid(`${value.place}: must be a number from 0 to 1`);
  return number;
}
