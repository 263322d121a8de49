import { expandPorts } from '#engine/containers/container-config.ts';
import { parseSignal } from '#engine/containers/signals.ts';
import type { ContainerConfig, HealthConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';

/** What an image says about the containers made of it. */
export type ImageConfig = Partial<ContainerConfig> & { OnBuild?: string[] | null };

export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_SHELL = ['/bin/sh', '-c'];

export function shellOf(config: ImageConfig): readonly string[] {
  return config.Shell ?? DEFAULT_SHELL;
}

/** Exec form as it is, shell form through the image's shell. */
export function commandOf(config: ImageConfig, json: readonly string[] | undefined, text: string): string[] {
  if (json !== undefined) return [...json];
  return text === '' ? [] : [...shellOf(config), text];
}

export function withEnv(config: ImageConfig, pairs: readonly string[]): ImageConfig {
  return { ...config, Env: mergeEnv(config.Env ?? [], pairs) };
}

export function withPorts(config: ImageConfig, words: readonly string[]): ImageConfig {
  const ports: Record<string, object> = { ...config.ExposedPorts };
  for (const word of words) {
    if (!/^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/i.test(word))
      throw invalid(`Invalid containerPort: ${word}`);
    for (const port of expandPorts(word)) ports[port] = {};
  }
  return { ...config, ExposedPorts: ports };
}

export function withVolumes(config: ImageConfig, paths: readonly string[]): ImageConfig {
  if (paths.some((path) => path.trim() === '')) throw invalid('VOLUME specified can not be an empty string');
  return {
    ...config,
    Volumes: { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) },
  };
}

export function withStopSignal(config: ImageConfig, signal: string): ImageConfig {
  parseSignal(signal);
  return { ...config, StopSignal: signal };
}

const UNITS: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** A Go duration in nanoseconds; `invalid` for anything else. */
function duration(name: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (text !== '0' && (parts.length === 0 || parts.map(([part]) => part).join('') !== text))
    throw invalid(`--${name}: invalid duration ${JSON.stringify(text)}`);
  const total = parts.reduce((sum, [, value, unit]) => sum + Number(value) * (UNITS[unit ?? ''] ?? 0), 0);
  if (total !== 0 && total < 1e6) throw invalid(`Interval "${name}" cannot be less than 1ms`);
  return total;
}

/** HEALTHCHECK's flags and command. */
export function healthcheckOf(
  flags: readonly { name: string; value: string | undefined }[],
  rest: string,
): HealthConfig {
  const match = /^(\S+)\s*(.*)$/s.exec(rest);
  const kind = (match?.[1] ?? '').toUpperCase();
  const command = match?.[2] ?? '';
  if (kind === 'NONE') {
    if (command !== '') throw invalid('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'] };
  }
  if (kind !== 'CMD')
    throw invalid(`Unknown type ${JSON.stringify(match?.[1] ?? '')} in HEALTHCHECK (try CMD)`);
  if (command === '') throw invalid('Missing command after HEALTHCHECK CMD');
  const list = jsonList(command);
  const health: HealthConfig = { Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list] };
  for (const { name, value = '' } of flags) {
    if (name === 'interval') health.Interval = duration(name, value);
    else if (name === 'timeout') health.Timeout = duration(name, value);
    else if (name === 'start-period') health.StartPeriod = duration(name, value);
    else if (name === 'start-interval') health.StartInterval = duration(name, value);
    else if (name === 'retries') {
      if (!/^\d+$/.test(value)) throw invalid(`--retries: ${JSON.stringify(value)} is no number`);
      health.Retries = Number(value);
    } else throw invalid(`Unknown flag: ${name}`);
  }
  return health;
}

/** Later values replace earlier ones of the same name, in place. */
export function mergeEnv(base: readonly string[], over: readonly string[]): string[] {
  const byName = new Map(base.map((pair) => [pair.split('=', 1)[0] ?? pair, pair]));
  for (const pair of over) byName.set(pair.split('=', 1)[0] ?? pair, pair);
  return [...byName.values()];
}

/** What Docker reads as exec form: JSON, and only lists of strings. */
export function jsonList(text: string): string[] | undefined {
  if (!text.trim().startsWith('[')) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.every((each) => typeof each === 'string') ? parsed : undefined;
  } catch {
    // Not JSON: it is a shell command then.
    return undefined;
  }
}
