import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Debian packages that tests have as the other end; none of them starts anything by itself. */
const PEERS: readonly (readonly [name: string, command: string])[] = [
  ['skopeo', 'skopeo'],
  ['buildah', 'buildah'],
  ['git', 'git'],
];

/**
 * Makes sure that the programs are there that tests push to and pull from. docker-registry comes with a service that listens on the
 * machine, so its program alone is taken out of its package, into `directory`. Gives an exit code.
 */
export function installPeers(directory: string): number {
  const missing = PEERS.filter(([, command]) => !isThere(command)).map(([name]) => name);
  const registry = join(directory, 'usr/bin/docker-registry');
  const wantsRegistry = !isThere('docker-registry') && !existsSync(registry);
  if (missing.length === 0 && !wantsRegistry) return 0;
  console.log(
    `installing what the tests talk to: ${[...missing, ...(wantsRegistry ? ['docker-registry'] : [])].join(' ')}`,
  );
  if (apt(['update', '-q']) !== 0) return 1;
  if (missing.length > 0 && apt(['install', '-yq', '--no-install-recommends', ...missing]) !== 0) return 1;
  if (!wantsRegistry) return 0;
  const packages = join(directory, 'packages');
  mkdirSync(packages, { recursive: true });
  try {
    if (apt(['download', '-q', 'docker-registry'], packages) !== 0) return 1;
    const [file = ''] = readdirSync(packages).filter((name) => name.startsWith('docker-registry'));
    const done = spawnSync('dpkg-deb', ['-x', join(packages, file), directory], { stdio: 'inherit' });
    return done.status ?? 1;
  } finally {
    rmSync(packages, { recursive: true, force: true });
  }
}

function isThere(command: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((path) => existsSync(join(path, command)));
}

function apt(args: readonly string[], cwd?: string): number {
  const done = spawnSync('apt-get', [...args], {
    ...(cwd === undefined ? {} : { cwd }),
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (done.status !== 0) console.error(`apt-get ${args.join(' ')}:\n${done.stdout}${done.stderr}`);
  return done.status ?? 1;
}
