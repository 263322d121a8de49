import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseEnvFile } from '#compose/interpolation.ts';
import type { Project } from '#compose/project.ts';
import { readProject } from '#compose/project-reader.ts';
import { notFound } from '#model/errors.ts';

export interface ProjectFlags {
  file?: string[];
  projectName?: string;
  profile?: string[];
  envFile?: string;
  projectDirectory?: string;
}

const NAMES = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml'];
const OVERRIDES = [
  'compose.override.yaml',
  'compose.override.yml',
  'docker-compose.override.yml',
  'docker-compose.override.yaml',
];

/** Finds and reads the project's files, as `docker compose` does. */
export function loadProject(flags: ProjectFlags): Project {
  const paths =
    flags.file === undefined || flags.file.length === 0
      ? findFiles(process.cwd())
      : flags.file.map((file) => resolve(file));
  const directory = resolve(flags.projectDirectory ?? dirname(paths[0] ?? '.'));
  const dotEnv = resolve(directory, flags.envFile ?? '.env');
  const defaults = existsSync(dotEnv)
    ? parseEnvFile(readFileSync(dotEnv, 'utf8'))
    : new Map<string, string>();
  const environment = (name: string): string | undefined => process.env[name] ?? defaults.get(name);
  const profiles = [...(flags.profile ?? []), ...(environment('COMPOSE_PROFILES') ?? '').split(',')].filter(
    (each) => each !== '',
  );
  return readProject({
    files: paths.map((path) => ({ name: path, text: readText(path) })),
    directory,
    name: flags.projectName ?? environment('COMPOSE_PROJECT_NAME'),
    environment,
    profiles,
    resolvePath: (path) => (path.startsWith('~') ? join(homedir(), path.slice(1)) : resolve(directory, path)),
    readFile: (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined),
    warn: (message) => console.error(`warning: ${message}`),
  });
}

function findFiles(start: string): string[] {
  for (let directory = start; ; directory = dirname(directory)) {
    const found = NAMES.map((name) => join(directory, name)).find((path) => existsSync(path));
    if (found !== undefined) {
      return [
        found,
        ...OVERRIDES.map((name) => join(directory, name))
          .filter((path) => existsSync(path))
          .slice(0, 1),
      ];
    }
    if (directory === dirname(directory)) {
      throw notFound(`no Compose file found in ${start} or above`, {
        hint: `Make a compose.yaml, or name a file with -f.`,
      });
    }
  }
}

function readText(path: string): string {
  if (!existsSync(path)) throw notFound(`${path}: no such file`);
  return readFileSync(path, 'utf8');
}
