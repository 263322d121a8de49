import { posix } from 'node:path';
import type { ContainerConfig, HealthConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import { parseSignal } from './signals.ts';

/** What an image says about the containers made of it. */
export type ImageContainerConfig = Partial<ContainerConfig>;

/**
 * What was asked for, completed by the image and by Docker's defaults, and checked. Throws `invalid` in Docker's
 * words. The hostname of a container that has one of its own is the first twelve digits of `id`.
 */
export function completeConfig(o: {
  asked: Partial<ContainerConfig>;
  image: ImageContainerConfig;
  hostname: string;
}): ContainerConfig {
  const { asked, image } = o;
  const healthcheck = mergeHealth(asked.Healthcheck, image.Healthcheck);
  const stopSignal = asked.StopSignal || image.StopSignal;
  const shell = asked.Shell ?? image.Shell;
  const config: ContainerConfig = {
    Hostname: asked.Hostname || o.hostname,
    Domainname: asked.Domainname ?? '',
    User: asked.User || image.User || '',
    AttachStdin: asked.AttachStdin ?? false,
    AttachStdout: asked.AttachStdout ?? false,
    AttachStderr: asked.AttachStderr ?? false,
    Tty: asked.Tty ?? false,
    OpenStdin: asked.OpenStdin ?? false,
    StdinOnce: asked.StdinOnce ?? false,
    Env: mergeEnvironment(asked.Env ?? [], image.Env ?? []),
    ...mergeCommand(asked, image),
    Image: asked.Image ?? '',
    Labels: { ...image.Labels, ...asked.Labels },
    Volumes: mergeKeys(asked.Volumes, image.Volumes),
    WorkingDir: workingDirectory(asked.WorkingDir || image.WorkingDir || ''),
    ExposedPorts: mergeKeys(portKeys(asked.ExposedPorts), portKeys(image.ExposedPorts)),
    ...(healthcheck === undefined ? {} : { Healthcheck: healthcheck }),
    ...(stopSignal ? { StopSignal: stopSignal } : {}),
    ...(asked.StopTimeout === undefined ? {} : { StopTimeout: asked.StopTimeout }),
    ...(shell ? { Shell: shell } : {}),
    ...(asked.NetworkDisabled === undefined ? {} : { NetworkDisabled: asked.NetworkDisabled }),
  };
  checkConfig(config);
  return config;
}

/** The program and its arguments: entrypoint, then command. */
export function commandLine(config: ContainerConfig): { path: string; args: string[] } {
  const [path, ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (path === undefined) throw invalid('no command specified');
  return { path, args };
}

/** An own entrypoint keeps the image's command away; one empty word, as `--entrypoint ""` sends it, means none. */
function mergeCommand(
  asked: Partial<ContainerConfig>,
  image: ImageContainerConfig,
): Pick<ContainerConfig, 'Cmd' | 'Entrypoint'> {
  let command = asked.Cmd ?? null;
  let entrypoint = asked.Entrypoint ?? null;
  if (entrypoint === null || entrypoint.length === 0) {
    if (command === null || command.length === 0) command = image.Cmd ?? null;
    if (entrypoint === null) entrypoint = image.Entrypoint ?? null;
  }
  if (entrypoint?.length === 1 && entrypoint[0] === '') entrypoint = null;
  return { Cmd: command, Entrypoint: entrypoint };
}

/** The asked-for variables first, then those of the image that were not set anew. */
function mergeEnvironment(asked: readonly string[], image: readonly string[]): string[] {
  const names = new Set(asked.map(variableName));
  return [...asked, ...image.filter((variable) => !names.has(variableName(variable)))];
}

function variableName(variable: string): string {
  const equals = variable.indexOf('=');
  return equals < 0 ? variable : variable.slice(0, equals);
}

function mergeKeys(
  asked: Record<string, object> | null | undefined,
  image: Record<string, object> | null | undefined,
): Record<string, object> | null {
  const keys = [...Object.keys(image ?? {}), ...Object.keys(asked ?? {})];
  return keys.length === 0 ? null : Object.fromEntries(keys.map((key) => [key, {}]));
}

/** Ports such as `80` become `80/tcp`; ranges become their ports. */
function portKeys(ports: Record<string, object> | null | undefined): Record<string, object> {
  const keys: Record<string, object> = {};
  for (const key of Object.keys(ports ?? {})) {
    for (const port of expandPorts(key)) keys[port] = {};
  }
  return keys;
}

/** `8000-8002/udp` → `8000/udp`, `8001/udp`, `8002/udp`. */
export function expandPorts(key: string): string[] {
  const parsed = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(key);
  const first = Number(parsed?.[1]);
  const last = Number(parsed?.[2] ?? first);
  if (parsed === null || first < 1 || last > 65_535 || last < first) {
    throw invalid(`invalid port specification: "${key}"`);
  }
  const protocol = (parsed[3] ?? 'tcp').toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, offset) => `${first + offset}/${protocol}`);
}

function workingDirectory(path: string): string {
  if (path === '') return '';
  if (!path.startsWith('/')) {
    throw invalid(`the working directory '${path}' is invalid, it needs to be an absolute path`);
  }
  const clean = posix.normalize(path);
  return clean.length > 1 && clean.endsWith('/') ? clean.slice(0, -1) : clean;
}

/** Fields that were not given, and only those, come from the image. */
function mergeHealth(
  asked: HealthConfig | undefined,
  image: HealthConfig | undefined,
): HealthConfig | undefined {
  if (asked === undefined || image === undefined) return asked ?? image;
  const given = Object.fromEntries(
    Object.entries(asked).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : Boolean(value))),
  );
  return { ...image, ...given };
}

function checkConfig(config: ContainerConfig): void {
  for (const variable of config.Env) {
    if (variable === '' || variable.startsWith('=') || variable.includes('\0')) {
      throw invalid(`invalid environment variable: ${variable}`);
    }
  }
  if (config.StopSignal !== undefined) parseSignal(config.StopSignal);
  checkHostname(config);
  checkHealth(config.Healthcheck);
  commandLine(config);
  for (const word of [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])]) {
    if (word.includes('\0')) throw invalid('invalid command: a word contains a NUL byte');
  }
}

function checkHostname(config: ContainerConfig): void {
  for (const [field, value] of [
    ['hostname', config.Hostname],
    ['domainname', config.Domainname],
  ] as const) {
    if (value.length > 255 || /[\s/\0]/.test(value))
      throw invalid(`invalid ${field}: ${JSON.stringify(value)}`);
  }
}

const NANOSECONDS_PER_MILLISECOND = 1_000_000;

function checkHealth(health: HealthConfig | undefined): void {
  if (health === undefined) return;
  const durations = ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const;
  for (const field of durations) {
    const value = health[field] ?? 0;
    if (value !== 0 && value < NANOSECONDS_PER_MILLISECOND) {
      throw invalid(`${field} in Healthcheck cannot be less than 1ms`);
    }
  }
  if ((health.Retries ?? 0) < 0) throw invalid('Retries in Healthcheck cannot be negative');
  const [kind] = health.Test;
  if (kind !== undefined && !['NONE', 'CMD', 'CMD-SHELL'].includes(kind)) {
    throw invalid(`Unknown healthcheck type '${kind}' (expected 'CMD') in Healthcheck.Test`);
  }
}
