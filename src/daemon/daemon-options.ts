import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Ulimit } from '#model/container.ts';
import { invalid, messageOf, notImplemented } from '#model/errors.ts';
import type { GenericResource } from '#model/task-spec.ts';
import { type AddressPool, configFileSettings, type Settings } from './config-file.ts';
import { parseGenericResources } from './generic-resources.ts';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const;

/** What the daemon was asked to be, after flags, configuration file and defaults were put together. */
export interface DaemonOptions {
  dataRoot: string;
  execRoot: string;
  pidfile: string;
  /** Paths of unix sockets, at least one. */
  sockets: string[];
  logLevel: (typeof LOG_LEVELS)[number];
  bridge: string;
  /** The default bridge's address with its prefix length; undefined chooses a free one. */
  bip: string | undefined;
  defaultAddressPools: AddressPool[];
  dns: string[];
  /** The group that may use the sockets. */
  group: string;
  /** False when `group` is only the default, and need not be there. */
  groupAsked: boolean;
  runtime: string | undefined;
  /** Where containers are in the cgroup tree, such as `/drover`; undefined is a place named after the exec root. */
  cgroupParent: string | undefined;
  defaultUlimits: Ulimit[];
  labels: string[];
  registryMirrors: string[];
  /** Where the daemon's own registry listens; undefined is nowhere. */
  registryAddress: string | undefined;
  registryConfig: string | undefined;
  insecureRegistries: string[];
  /** What the node has that services can reserve. */
  genericResources: GenericResource[];
}

export type Command =
  | { kind: 'help' }
  | { kind: 'version' }
  | { kind: 'run' | 'teardown'; options: DaemonOptions };

const DEFAULT_CONFIG_FILE = '/etc/drover/daemon.json';

const FLAGS = {
  host: { type: 'string', short: 'H', multiple: true },
  'data-root': { type: 'string' },
  'exec-root': { type: 'string' },
  pidfile: { type: 'string', short: 'p' },
  'config-file': { type: 'string' },
  'log-level': { type: 'string', short: 'l' },
  debug: { type: 'boolean', short: 'D' },
  bridge: { type: 'string', short: 'b' },
  bip: { type: 'string' },
  'default-address-pool': { type: 'string', multiple: true },
  dns: { type: 'string', multiple: true },
  group: { type: 'string', short: 'G' },
  'default-runtime': { type: 'string' },
  'cgroup-parent': { type: 'string' },
  'default-ulimit': { type: 'string', multiple: true },
  label: { type: 'string', multiple: true },
  'registry-mirror': { type: 'string', multiple: true },
  'registry-addr': { type: 'string' },
  'registry-config': { type: 'string' },
  'insecure-registry': { type: 'string', multiple: true },
  'node-generic-resource': { type: 'string', multiple: true },
  teardown: { type: 'boolean' },
  version: { type: 'boolean', short: 'v' },
  help: { type: 'boolean', short: 'h' },
} as const;

export const HELP: string = `Usage: drover daemon [OPTIONS]

A container engine that speaks Docker's API. Its flags are dockerd's.

  -H, --host unix://PATH        socket to listen on, may be repeated (default unix:///var/run/drover.sock)
      --data-root DIR           images, containers and volumes (default /var/lib/drover)
      --exec-root DIR           what belongs to running containers (default /run/drover)
  -p, --pidfile FILE            default EXEC-ROOT/drover.pid
      --config-file FILE        settings as JSON, dockerd's daemon.json (default ${DEFAULT_CONFIG_FILE}, if there)
  -l, --log-level LEVEL         ${LOG_LEVELS.join(', ')} (default info)
  -D, --debug                   the same as --log-level debug
  -b, --bridge NAME             the default bridge's interface (default drover0)
      --bip CIDR                its address (default: a free subnet)
      --default-address-pool base=CIDR,size=N
                                where the subnets of networks are cut from, may be repeated
      --dns IP                  name server for containers, may be repeated (default: the host's)
  -G, --group NAME              group that may use the socket (default docker, if there)
      --default-runtime NAME    crun or runc (default: the first that works here)
      --cgroup-parent PATH      cgroup that containers are in (default: one named after EXEC-ROOT)
      --default-ulimit NAME=SOFT[:HARD]
                                limit of containers that set none, may be repeated
      --registry-addr ADDRESS   serve a registry of the images here, such as 127.0.0.1:5000
      --registry-config FILE    its users, rights, quotas and so on (YAML or JSON)
      --registry-mirror URL     stands in for docker.io when pulling, may be repeated
      --insecure-registry HOST  host[:port] or CIDR whose registry need not have verified TLS, may be repeated
      --label KEY=VALUE         label of the daemon, may be repeated
      --node-generic-resource NAME=VALUE
                                what services can reserve here: a number (SSD=3) or a name (GPU=UUID1), may be repeated
      --teardown                instead of serving: kill the containers of this data root, remove its networks,
                                mounts and processes, and end; images, volumes and containers stay on disk
  -v, --version
  -h, --help

Examples:
  drover daemon
  drover daemon -H unix:///var/run/docker.sock
  drover daemon --data-root /srv/b --exec-root /run/b -H unix:///run/b.sock --bridge drover1 --bip 10.99.0.1/24
`;

/** Reads the command line and the configuration file. `invalid` names the flag or setting that is wrong. */
export function parseCommand(argv: readonly string[]): Command {
  const flags = parseFlags(argv);
  if (flags.help === true) return { kind: 'help' };
  if (flags.version === true) return { kind: 'version' };
  const asked: Settings = {
    hosts: flags.host,
    'data-root': flags['data-root'],
    'exec-root': flags['exec-root'],
    pidfile: flags.pidfile,
    'log-level': flags['log-level'],
    debug: flags.debug,
    bridge: flags.bridge,
    bip: flags.bip,
    'default-address-pools': flags['default-address-pool']?.map(parsePool),
    dns: flags.dns,
    group: flags.group,
    'default-runtime': flags['default-runtime'],
    'cgroup-parent': flags['cgroup-parent'],
    'default-ulimits': flags['default-ulimit']?.map(parseUlimit),
    labels: flags.label,
    'registry-mirrors': flags['registry-mirror'],
    'registry-addr': flags['registry-addr'],
    'registry-config': flags['registry-config'],
    'insecure-registries': flags['insecure-registry'],
    'node-generic-resources': flags['node-generic-resource'],
  };
  const settings = merge(asked, readConfigFile(flags['config-file']));
  return { kind: flags.teardown === true ? 'teardown' : 'run', options: checked(settings) };
}

type Flags = ReturnType<typeof parseArgs<{ options: typeof FLAGS }>>['values'];

function parseFlags(argv: readonly string[]): Flags {
  try {
    // pflag's -H=VALUE, which parseArgs would read as the value "=VALUE"
    const args = argv.map((argument) => argument.replace(/^(-[A-Za-z])=/, '$1'));
    return parseArgs({ args, options: FLAGS, strict: true, allowPositionals: false }).values;
  } catch (cause) {
    throw invalid(messageOf(cause).replace(/\. To specify a positional.*$/s, ''), { cause });
  }
}

function readConfigFile(asked: string | undefined): Settings {
  const file = asked ?? DEFAULT_CONFIG_FILE;
  if (asked === undefined && !existsSync(file)) return {};
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw invalid(`unable to configure the daemon with file ${file}: ${messageOf(cause)}`, { cause });
  }
  return configFileSettings(text, file);
}

/** A setting may come from one place only: two places that differ are found out late. */
function merge(flags: Settings, file: Settings): Settings {
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  const both = given.filter(([key]) => key in file);
  if (both.length > 0) {
    const fileValues = new Map(Object.entries(file));
    const list = both.map(
      ([key, value]) =>
        `${key}: (from flag: ${JSON.stringify(value)}, from file: ${JSON.stringify(fileValues.get(key))})`,
    );
    throw invalid(
      `the following directives are specified both as a flag and in the configuration file: ${list.join(', ')}`,
    );
  }
  return { ...file, ...Object.fromEntries(given) };
}

function checked(settings: Settings): DaemonOptions {
  const execRoot = settings['exec-root'] ?? '/run/drover';
  const dataRoot = settings['data-root'] ?? '/var/lib/drover';
  const logLevel = settings.debug === true ? 'debug' : (settings['log-level'] ?? 'info');
  const level = LOG_LEVELS.find((known) => known === logLevel);
  if (level === undefined) throw invalid(`log-level ${logLevel} is none of ${LOG_LEVELS.join(', ')}`);
  for (const [name, path] of [['data-root', dataRoot] as const, ['exec-root', execRoot] as const]) {
    if (!path.startsWith('/')) throw invalid(`${name} ${path} is not an absolute path`);
  }
  const bridge = settings.bridge ?? 'drover0';
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(bridge))
    throw invalid(`bridge ${bridge} is not the name of an interface`);
  for (const address of settings.dns ?? []) {
    if (isIP(address) === 0) throw invalid(`dns ${address} is not an IP address`);
  }
  const runtime = settings['default-runtime'];
  if (runtime !== undefined && runtime !== 'crun' && runtime !== 'runc') {
    throw invalid(`default-runtime ${runtime} is neither crun nor runc`);
  }
  const cgroupParent = settings['cgroup-parent'];
  if (
    cgroupParent !== undefined &&
    (!/^(\/[^/]+)+$/.test(cgroupParent) || /\/\.\.?(\/|$)/.test(cgroupParent))
  )
    throw invalid(`cgroup-parent ${cgroupParent} is not a cgroup's path such as /drover`);
  return {
    dataRoot,
    execRoot,
    pidfile: settings.pidfile ?? join(execRoot, 'drover.pid'),
    sockets: (settings.hosts ?? ['unix:///var/run/drover.sock']).map(socketPath),
    logLevel: level,
    bridge,
    bip: settings.bip === undefined ? undefined : checkCidr('bip', settings.bip),
    defaultAddressPools: settings['default-address-pools'] ?? [],
    dns: settings.dns ?? [],
    group: settings.group ?? 'docker',
    groupAsked: settings.group !== undefined,
    runtime,
    cgroupParent,
    defaultUlimits: settings['default-ulimits'] ?? [],
    labels: (settings.labels ?? []).map(checkLabel),
    registryMirrors: (settings['registry-mirrors'] ?? []).map(checkMirror),
    registryAddress: settings['registry-addr'],
    registryConfig: settings['registry-config'],
    insecureRegistries: settings['insecure-registries'] ?? [],
    genericResources: parseGenericResources(settings['node-generic-resources'] ?? []),
  };
}

function socketPath(host: string): string {
  if (/^(tcp|http|https):/.test(host)) {
    throw notImplemented(`host ${host}: listening on TCP is not there yet, use a unix socket (unix://PATH)`);
  }
  const path = host.startsWith('unix://') ? host.slice('unix://'.length) : host;
  if (!path.startsWith('/')) throw invalid(`host ${host} is not a unix socket (unix:///PATH)`);
  // sun_path, with its closing zero
  if (Buffer.byteLength(path) > 107)
    throw invalid(`host ${host} is longer than the 107 bytes of a socket's path`);
  return path;
}

function checkMirror(mirror: string): string {
  const url = URL.canParse(mirror) ? new URL(mirror) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '')
    throw invalid(`registry-mirror ${mirror} is not a URL such as https://mirror.example.org`);
  return mirror;
}

function checkLabel(label: string): string {
  if (!/^[^=]+=/.test(label)) throw invalid(`label ${label} is not KEY=VALUE`);
  return label;
}

function checkCidr(name: string, text: string): string {
  const [address = '', prefix = ''] = text.split('/');
  if (isIP(address) !== 4 || !/^\d{1,2}$/.test(prefix) || Number(prefix) > 30) {
    throw invalid(`${name} ${text} is not an IPv4 address with its prefix length, such as 172.17.0.1/16`);
  }
  return text;
}

function parsePool(text: string): AddressPool {
  const fields = new Map(
    text.split(',').map((field): [string, string] => {
      const [key = '', value = ''] = field.split('=');
      return [key.trim(), value.trim()];
    }),
  );
  const base = fields.get('base');
  const size = Number(fields.get('size'));
  if (base === undefined || fields.size !== 2 || !Number.isInteger(size) || size < 1 || size > 30) {
    throw invalid(`default-address-pool ${text} is not base=CIDR,size=N`);
  }
  return { base: checkCidr('default-address-pool', base), size };
}

function parseUlimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null) throw invalid(`default-ulimit ${text} is not NAME=SOFT[:HARD]`);
  const [, name = '', soft = '', hard = soft] = match;
  return { Name: name, Soft: Number(soft), Hard: Number(hard) };
}
