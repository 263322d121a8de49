import type { ContainerConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';

type Config = Partial<ContainerConfig> & { OnBuild?: string[] | null };

/** Applies the Dockerfile instructions of `docker import --change`; one that is not allowed there is refused by name. */
export function applyChanges(config: Config, changes: readonly string[]): Config {
  return changes.reduce(applyChange, config);
}

function applyChange(config: Config, change: string): Config {
  const match = /^\s*([A-Za-z]+)\s+(.*)$/s.exec(change);
  const instruction = (match?.[1] ?? change).toUpperCase();
  const rest = (match?.[2] ?? '').trim();
  switch (instruction) {
    case 'CMD':
      return { ...config, Cmd: command(rest) };
    case 'ENTRYPOINT':
      return { ...config, Entrypoint: command(rest) };
    case 'ENV':
      return { ...config, Env: mergeEnv(config.Env ?? [], pairs(rest, instruction)) };
    case 'EXPOSE':
      return {
        ...config,
        ExposedPorts: { ...config.ExposedPorts, ...Object.fromEntries(words(rest).map(port)) },
      };
    case 'LABEL': {
      const labels = pairs(rest, instruction).map((pair): [string, string] => {
        const equals = pair.indexOf('=');
        return [pair.slice(0, equals), pair.slice(equals + 1)];
      });
      return { ...config, Labels: { ...config.Labels, ...Object.fromEntries(labels) } };
    }
    case 'USER':
      return { ...config, User: rest };
    case 'VOLUME': {
      const paths = jsonList(rest) ?? words(rest);
      return {
        ...config,
        Volumes: { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) },
      };
    }
    case 'WORKDIR':
      return { ...config, WorkingDir: rest };
    case 'STOPSIGNAL':
      return { ...config, StopSignal: rest };
    case 'ONBUILD':
      return { ...config, OnBuild: [...(config.OnBuild ?? []), rest] };
    case 'HEALTHCHECK':
      return { ...config, Healthcheck: healthcheck(rest) };
    default:
      throw invalid(`${instruction} is not a valid change command`);
  }
}

function command(text: string): string[] {
  return jsonList(text) ?? ['/bin/sh', '-c', text];
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.every((each) => typeof each === 'string') ? parsed : undefined;
  } catch {
    // Not JSON: Docker takes it for a shell command then, and so do we.
    return undefined;
  }
}

/** Splits at blanks outside of quotes, and takes the quotes and backslashes away. */
function words(text: string): string[] {
  return [...text.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gs)].map(([word]) =>
    word.replace(
      /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/gs,
      (_, double?: string, single?: string, escaped?: string) =>
        double === undefined ? (single ?? escaped ?? '') : double.replace(/\\(.)/gs, '$1'),
    ),
  );
}

function pairs(text: string, instruction: string): string[] {
  const found = words(text);
  const [first = ''] = found;
  if (!first.includes('=') && found.length > 1) return [`${first}=${text.slice(first.length).trim()}`];
  const bad = found.find((word) => word.indexOf('=') < 1);
  if (bad !== undefined || found.length === 0)
    throw invalid(`Syntax error - can't find = in ${JSON.stringify(bad ?? instruction)}`);
  return found;
}

/** Later values replace earlier ones of the same name, in place. */
export function mergeEnv(base: readonly string[], over: readonly string[]): string[] {
  const byName = new Map(base.map((pair) => [pair.split('=', 1)[0] ?? pair, pair]));
  for (const pair of over) byName.set(pair.split('=', 1)[0] ?? pair, pair);
  return [...byName.values()];
}

function port(text: string): [string, object] {
  if (!/^\d{1,5}(\/(tcp|udp|sctp))?$/.test(text)) throw invalid(`Invalid containerPort: ${text}`);
  return [text.includes('/') ? text : `${text}/tcp`, {}];
}

const UNITS: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

function healthcheck(text: string): NonNullable<ContainerConfig['Healthcheck']> {
  if (text.toUpperCase() === 'NONE') return { Test: ['NONE'] };
  const options: Record<string, string> = {};
  let rest = text;
  for (
    let flag = /^--([a-z-]+)=(\S+)\s+/.exec(rest);
    flag !== null;
    flag = /^--([a-z-]+)=(\S+)\s+/.exec(rest)
  ) {
    options[flag[1] ?? ''] = flag[2] ?? '';
    rest = rest.slice(flag[0].length);
  }
  const cmd = /^CMD\s+(.*)$/is.exec(rest)?.[1];
  if (cmd === undefined)
    throw invalid(`Unknown type ${JSON.stringify(rest.split(/\s/)[0])} in HEALTHCHECK (try CMD)`);
  const list = jsonList(cmd);
  const result: NonNullable<ContainerConfig['Healthcheck']> = {
    Test: list === undefined ? ['CMD-SHELL', cmd] : ['CMD', ...list],
  };
  for (const [name, value] of Object.entries(options)) {
    if (name === 'interval') result.Interval = duration(value);
    else if (name === 'timeout') result.Timeout = duration(value);
    else if (name === 'start-period') result.StartPeriod = duration(value);
    else if (name === 'start-interval') result.StartInterval = duration(value);
    else if (name === 'retries') result.Retries = Number(value);
    else throw invalid(`Unknown flag: ${name}`);
  }
  return result;
}

function duration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw invalid(`time: invalid duration ${JSON.stringify(text)}`);
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * (UNITS[unit ?? ''] ?? 0), 0);
}
