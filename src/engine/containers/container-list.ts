import { isTask } from '#engine/networks/network-attachments.ts';
import type { ContainerRecord, ContainerStatus, HealthStatus } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';

const STATUSES: readonly ContainerStatus[] = [
  'created',
  'running',
  'paused',
  'restarting',
  'removing',
  'exited',
  'dead',
];
const HEALTHS: readonly HealthStatus[] = ['none', 'starting', 'healthy', 'unhealthy'];

/** What a filter needs to know beyond the containers themselves. */
export interface ListContext {
  /** The ID of the image that a reference means; undefined when there is none. */
  imageId(reference: string): string | undefined;
  /** Looks a container up; throws when there is none. */
  container(reference: string): ContainerRecord;
}

type Condition = (record: ContainerRecord) => boolean;

/**
 * The containers that `docker ps` shows, newest first. Without `all`, a limit or a filter by state only what runs.
 * Throws `invalid filter 'x'` for what is no filter.
 */
export function listContainers(
  records: readonly ContainerRecord[],
  o: { all: boolean; limit: number; filters: Filters },
  context: ListContext,
): ContainerRecord[] {
  const conditions = Object.entries(o.filters).map(([key, values]) => condition(key, values, context));
  const showsAll = o.all || o.limit > 0 || 'status' in o.filters || 'exited' in o.filters;
  const found = records
    .filter((record) => (showsAll || record.state.Running) && conditions.every((holds) => holds(record)))
    .sort((a, b) => (a.created < b.created ? 1 : a.created > b.created ? -1 : 0));
  return o.limit > 0 ? found.slice(0, o.limit) : found;
}

function condition(key: string, values: readonly string[], context: ListContext): Condition {
  const any =
    (holds: (record: ContainerRecord, value: string) => boolean): Condition =>
    (record) =>
      values.some((value) => holds(record, value));
  switch (key) {
    case 'id':
      return any((record, value) => record.id.startsWith(value));
    case 'name':
      return nameCondition(values);
    case 'label':
      return (record) => matchesLabels({ label: [...values] }, record.config.Labels);
    case 'status':
      checkKnown(values, STATUSES, (value) => `invalid filter 'status=${value}'`);
      return any((record, value) => record.state.Status === value);
    case 'health':
      checkKnown(values, HEALTHS, (value) => `invalid filter 'health=${value}'`);
      return any((record, value) => (record.state.Health?.Status ?? 'none') === value);
    case 'exited':
      return exitedCondition(values);
    case 'ancestor':
      return ancestorCondition(values, context);
    case 'network':
      return any(isOnNetwork);
    case 'volume':
      return any((record, value) =>
        record.mounts.some(({ Name, Destination }) => Name === value || Destination === value),
      );
    case 'publish':
      return portCondition(values, publishedPorts);
    case 'expose':
      return portCondition(values, exposedPorts);
    case 'before':
    case 'since':
      return timeCondition(key, values, context);
    case 'is-task':
      return (record) => truth(key, values) === isTask(record);
    case 'isolation':
      return any((_record, value) => value === '' || value === 'default');
    default:
      throw invalid(`invalid filter '${key}'`);
  }
}

function checkKnown(
  values: readonly string[],
  known: readonly string[],
  message: (value: string) => string,
): void {
  const unknown = values.find((value) => !known.includes(value));
  if (unknown !== undefined) throw invalid(message(unknown));
}

/** A name matches a regular expression anywhere, with or without its leading slash. */
function nameCondition(values: readonly string[]): Condition {
  const patterns = values.map((value) => {
    try {
      return new RegExp(value);
    } catch (cause) {
      throw invalid(`invalid filter 'name=${value}'`, { cause });
    }
  });
  return ({ name }) => patterns.some((pattern) => pattern.test(name) || pattern.test(`/${name}`));
}

function exitedCondition(values: readonly string[]): Condition {
  const codes = values.map((value) => {
    if (!/^\d{1,3}$/.test(value)) throw invalid(`invalid filter 'exited=${value}'`);
    return Number(value);
  });
  return ({ state }) => state.Status === 'exited' && codes.includes(state.ExitCode);
}

function ancestorCondition(values: readonly string[], context: ListContext): Condition {
  const images = new Set(values.map((value) => context.imageId(value)));
  return (record) => images.has(record.imageId);
}

function isOnNetwork(record: ContainerRecord, network: string): boolean {
  if (Object.hasOwn(record.networks, network)) return true;
  return Object.values(record.networks).some(
    ({ NetworkID }) => NetworkID !== '' && network !== '' && NetworkID.startsWith(network),
  );
}

/** `80`, `80/tcp`, `8000-8080/udp` against ports with their protocol. */
function portCondition(
  values: readonly string[],
  portsOf: (record: ContainerRecord) => { port: number; protocol: string }[],
): Condition {
  const ranges = values.map((value) => {
    const [, first, last = first, protocol = 'tcp'] =
      /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(value) ?? [];
    if (first === undefined) throw invalid(`invalid port specification: "${value}"`);
    return { first: Number(first), last: Number(last), protocol };
  });
  return (record) =>
    portsOf(record).some(({ port, protocol }) =>
      ranges.some((range) => range.protocol === protocol && port >= range.first && port <= range.last),
    );
}

function publishedPorts(record: ContainerRecord): { port: number; protocol: string }[] {
  const bound = { ...record.hostConfig.PortBindings, ...record.ports };
  return Object.entries(bound).flatMap(([key, bindings]) => {
    const { port, protocol } = splitPort(key);
    const hostPorts = (bindings ?? []).map(({ HostPort }) => ({ port: Number(HostPort), protocol }));
    return [{ port, protocol }, ...hostPorts];
  });
}

function exposedPorts(record: ContainerRecord): { port: number; protocol: string }[] {
  return Object.keys(record.config.ExposedPorts ?? {}).map(splitPort);
}

function splitPort(key: string): { port: number; protocol: string } {
  const [port = '', protocol = 'tcp'] = key.split('/');
  return { port: Number(port), protocol };
}

function timeCondition(key: 'before' | 'since', values: readonly string[], context: ListContext): Condition {
  const times = values.map((value) => context.container(value).created);
  return ({ created }) => times.every((time) => (key === 'before' ? created < time : created > time));
}

function truth(key: string, values: readonly string[]): boolean {
  const [value = ''] = values;
  if (['1', 'true', 'True'].includes(value)) return true;
  if (['0', 'false', 'False'].includes(value)) return false;
  throw invalid(`invalid filter '${key}=${value}'`);
}
