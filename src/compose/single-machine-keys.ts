import { invalid } from '#model/errors.ts';
import type { Project, Service } from './project.ts';

/** What a service of the file has, by its key there, and what that means on a cluster. */
interface Matter {
  readonly key: string;
  readonly isSet: (service: Service) => boolean;
  readonly instead: string;
}

/** Without these a service would not do what the file says: they are refused. */
const REFUSED: readonly Matter[] = [
  {
    key: 'privileged',
    isSet: ({ hostConfig }) => hostConfig.Privileged === true,
    instead: 'use cap_add for the capabilities that it needs',
  },
  {
    key: 'devices',
    isSet: ({ hostConfig }) => (hostConfig.Devices ?? []).length > 0,
    instead: 'use generic_resources, or run it outside of the cluster',
  },
  {
    key: 'pid',
    isSet: ({ hostConfig }) => (hostConfig.PidMode ?? '') !== '',
    instead: 'take it out',
  },
  {
    key: 'ipc',
    isSet: ({ hostConfig }) => !['', 'private', 'shareable'].includes(hostConfig.IpcMode ?? ''),
    instead: 'take it out',
  },
];

/** These say how one machine runs it, and are passed over. */
const IGNORED: readonly Matter[] = [
  {
    key: 'container_name',
    isSet: ({ containerName }) => containerName !== undefined,
    instead: 'tasks are called STACK_SERVICE.NUMBER.ID',
  },
  {
    key: 'domainname',
    isSet: ({ config }) => config.Domainname !== undefined,
    instead: 'services are found by their names',
  },
  {
    key: 'cpu_shares',
    isSet: ({ hostConfig }) => hostConfig.CpuShares !== undefined,
    instead: 'limit or reserve cpus',
  },
  {
    key: 'cpuset',
    isSet: ({ hostConfig }) => hostConfig.CpusetCpus !== undefined,
    instead: 'limit or reserve cpus',
  },
  {
    key: 'memswap_limit',
    isSet: ({ hostConfig }) => hostConfig.MemorySwap !== undefined,
    instead: 'limit memory',
  },
  {
    key: 'pull_policy',
    isSet: ({ pullPolicy }) => !['missing', 'if_not_present', undefined].includes(pullPolicy),
    instead: 'a node pulls what it does not have',
  },
  {
    key: 'ipv4_address',
    isSet: ({ networks }) => [...networks.values()].some(({ address }) => address !== undefined),
    instead: 'tasks get their addresses, and services are found by their names',
  },
];

/** Names what a service says that is about one machine: told to `warn`, or `invalid` where it cannot be passed over. */
export function checkForCluster(project: Project, service: Service, warn: (message: string) => void): void {
  const what = `services.${service.name}`;
  for (const { key, isSet, instead } of REFUSED) {
    if (isSet(service))
      throw invalid(`${service.place}: ${what}: ${key} is not there for services of a cluster: ${instead}`);
  }
  for (const { key, isSet, instead } of IGNORED) {
    if (isSet(service)) warn(`${what}: ${key} is passed over: ${instead}`);
  }
  if (service.build !== undefined) {
    warn(
      `${what}: build is not done here: nodes pull ${service.image}, which is built before (drover build -t ${service.image} --push ${service.build})`,
    );
  }
  for (const { Type, Source } of service.mounts) {
    if (Type === 'bind' && (Source === project.directory || Source.startsWith(`${project.directory}/`)))
      warn(`${what}: ${Source} has to be on every node that it may run on: use configs for files of its own`);
  }
}
