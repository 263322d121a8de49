import type { ContainerConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import {
  commandOf,
  healthcheckOf,
  type ImageConfig,
  jsonList,
  withEnv,
  withPorts,
  withStopSignal,
  withVolumes,
} from './image-settings.ts';

/** Applies the Dockerfile instructions of `docker import --change`; one that is not allowed there is refused by name. */
export function applyChanges(config: ImageConfig, changes: readonly string[]): ImageConfig {
  return changes.reduce(applyChange, config);
}

function applyChange(config: ImageConfig, change: string): ImageConfig {
  const match = /^\s*([A-Za-z]+)\s+(.*)$/s.exec(change);
  const instruction = (match?.[1] ?? change).toUpperCase();
  const rest = (match?.[2] ?? '').trim();
  switch (instruction) {
    case 'CMD':
      return { ...config, Cmd: commandOf(config, jsonList(rest), rest) };
    case 'ENTRYPOINT':
      return { ...config, Entrypoint: commandOf(config, jsonList(rest), rest) };
    case 'ENV':
      return withEnv(config, pairs(rest, instruction));
    case 'EXPOSE':
      return withPorts(config, words(rest));
    case 'LABEL': {
      const labels = pairs(rest, instruction).map((pair): [string, string] => {
        const equals = pair.indexOf('=');
        return [pair.slice(0, equals), pair.slice(equals + 1)];
      });
      return { ...config, Labels: { ...config.Labels, ...Object.fromEntries(labels) } };
    }
    case 'USER':
      return { ...config, User: rest };
    case 'VOLUME':
      return withVolumes(config, jsonList(rest) ?? words(rest));
    case 'WORKDIR':
      return { ...config, WorkingDir: rest };
    case 'STOPSIGNAL':
      return withStopSignal(config, rest);
    case 'ONBUILD':
      return { ...config, OnBuild: [...(config.OnBuild ?? []), rest] };
    case 'HEALTHCHECK':
      return { ...config, Healthcheck: healthcheck(rest) };
    default:
      throw invalid(`${instruction} is not a valid change command`);
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

/** HEALTHCHECK with its flags, as one text. */
function healthcheck(text: string): NonNullable<ContainerConfig['Healthcheck']> {
  const flags: { name: string; value: string | undefined }[] = [];
  let rest = text;
  for (let flag = FLAG.exec(rest); flag !== null; flag = FLAG.exec(rest)) {
    flags.push({ name: flag[1] ?? '', value: flag[2] });
    rest = rest.slice(flag[0].length);
  }
  return healthcheckOf(flags, rest);
}

const FLAG = /^--([a-z-]+)=(\S+)\s+/;
