import { invalid } from '#model/errors.ts';
import { nearName } from '#model/near-name.ts';
import type { ComposeValue } from './compose-file.ts';

/** Keys that are taken, by where they stand. */
const SUPPORTED = {
  top: ['name', 'version', 'services', 'networks', 'volumes', 'secrets', 'configs'],
  service: [
    'image',
    'build',
    'command',
    'entrypoint',
    'environment',
    'env_file',
    'ports',
    'expose',
    'volumes',
    'networks',
    'network_mode',
    'secrets',
    'configs',
    'depends_on',
    'healthcheck',
    'restart',
    'deploy',
    'scale',
    'labels',
    'container_name',
    'hostname',
    'domainname',
    'user',
    'working_dir',
    'profiles',
    'stop_grace_period',
    'stop_signal',
    'init',
    'tty',
    'stdin_open',
    'privileged',
    'cap_add',
    'cap_drop',
    'read_only',
    'tmpfs',
    'ulimits',
    'sysctls',
    'security_opt',
    'devices',
    'dns',
    'dns_search',
    'dns_opt',
    'extra_hosts',
    'group_add',
    'shm_size',
    'mem_limit',
    'mem_reservation',
    'memswap_limit',
    'cpus',
    'cpu_shares',
    'cpuset',
    'pids_limit',
    'pid',
    'ipc',
    'logging',
    'pull_policy',
    'platform',
  ],
  deploy: [
    'mode',
    'replicas',
    'endpoint_mode',
    'labels',
    'placement',
    'resources',
    'restart_policy',
    'update_config',
    'rollback_config',
  ],
  placement: ['constraints', 'preferences', 'max_replicas_per_node'],
  preference: ['spread'],
  'restart policy': ['condition', 'delay', 'max_attempts', 'window'],
  'update config': ['parallelism', 'delay', 'failure_action', 'monitor', 'max_failure_ratio', 'order'],
  resources: ['limits', 'reservations'],
  limits: ['cpus', 'memory', 'pids'],
  reservations: ['cpus', 'memory', 'generic_resources'],
  'generic resource': ['discrete_resource_spec', 'named_resource_spec'],
  'generic amount': ['kind', 'value'],
  healthcheck: ['test', 'interval', 'timeout', 'retries', 'start_period', 'start_interval', 'disable'],
  network: ['driver', 'driver_opts', 'ipam', 'internal', 'attachable', 'external', 'name', 'labels'],
  'service network': ['aliases', 'ipv4_address'],
  volume: ['driver', 'driver_opts', 'external', 'name', 'labels'],
  file: ['file', 'environment', 'content', 'external', 'name', 'labels', 'template_driver'],
  'file reference': ['source', 'target', 'uid', 'gid', 'mode'],
  dependency: ['condition', 'required', 'restart'],
  port: ['target', 'published', 'protocol', 'host_ip', 'mode', 'name', 'app_protocol'],
  mount: ['type', 'source', 'target', 'read_only', 'bind', 'volume', 'tmpfs', 'consistency'],
  'mount of a directory': ['propagation', 'create_host_path', 'recursive', 'selinux'],
  'mount of a volume': ['nocopy', 'subpath', 'labels'],
  'mount of a tmpfs': ['size', 'mode'],
  logging: ['driver', 'options'],
} as const;

/** Keys of the Compose specification that Drover does not do yet, and what to do instead. */
const NOT_YET: Record<string, string> = {
  include: 'give several files with -f',
  extends: 'use a YAML anchor, or several files with -f',
  develop: 'leave it out',
  models: 'leave it out',
};

/** Refuses, with file, line and column, every key that would otherwise be dropped in silence; `x-…` are the user's own. */
export function checkKeys(value: ComposeValue, where: keyof typeof SUPPORTED, what: string): void {
  if (value.kind !== 'map') return;
  const supported: readonly string[] = SUPPORTED[where];
  for (const [key, entry] of value.entries) {
    if (supported.includes(key) || key.startsWith('x-')) continue;
    const instead = NOT_YET[key];
    if (instead !== undefined)
      throw invalid(`${entry.place}: ${what}: ${key} is not supported yet: ${instead}`);
    const near = nearName(key, supported);
    const hint = near === undefined ? 'not supported; take it out' : `unknown; did you mean ${near}?`;
    throw invalid(`${entry.place}: ${what}: ${key} is ${hint}`);
  }
}
