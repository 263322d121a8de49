import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** A package, and a command or a file that is there when it is. */
type Peer = readonly [name: string, command: string];

/** Debian packages that tests have as the other end; none of them starts anything by itself. */
const PEERS: readonly Peer[] = [
  ['skopeo', 'skopeo'],
  ['buildah', 'buildah'],
  ['git', 'git'],
  ['python3-docker', '/usr/lib/python3/dist-packages/docker/__init__.py'],
];

/** What `npm run test:clients` has as the other end: too large for every run of the tests. */
export const CLIENTS: readonly Peer[] = [
  ...PEERS,
  ['ansible', '/usr/bin/ansible-playbook'],
  ['python3-jsondiff', '/usr/lib/python3/dist-packages/jsondiff/__init__.py'],
];

/** Packages of which only the program is taken: most come with a service that listens on the machine. */
const UNPACKED: readonly Peer[] = [
  ['docker-registry', 'docker-registry'],
  ['etcd-server', 'etcd'],
];

/** A client with BuildKit in it, which the one in the path has as a plugin or not at all: it is no program of the path. */
const BUILDKIT_CLIENT: Peer = ['docker.io', 'docker'];

/**
 * Makes sure that the programs are there that tests have as the other end; those that would come with a service are unpacked into
 * `directory`. Gives an exit code.
 */
export function installPeers(directory: string, peers: readonly Peer[] = PEERS): number {
  const missing = peers.filter(([, command]) => !isThere(command)).map(([name]) => name);
  const unpacked = UNPACKED.filter(
    ([, command]) => !isThere(command) && !existsSync(join(directory, 'usr/bin', command)),
  );
  const [clientPackage, client] = BUILDKIT_CLIENT;
  const clientPlace = join(directory, clientPackage);
  const lacksClient = !existsSync(join(clientPlace, 'usr/bin', client));
  if (missing.length === 0 && unpacked.length === 0 && !lacksClient) return 0;
  console.log(
    `installing what the tests talk to: ${[...missing, ...unpacked.map(([name]) => name), ...(lacksClient ? [clientPackage] : [])].join(' ')}`,
  );
  if (apt(['update', '-q']) !== 0) return 1;
  if (missing.length > 0 && apt(['install', '-yq', '--no-install-recommends', ...missing]) !== 0) return 1;
  for (const peer of unpacked) if (unpack(peer, directory) !== 0) return 1;
  if (lacksClient && unpack(BUILDKIT_CLIENT, clientPlace) !== 0) return 1;
  return 0;
}

/** Takes the program out of a package without installing it. */
function unpack([name, command]: Peer, directory: string): number {
  const packages = join(directory, 'packages');
  mkdirSync(packages, { recursive: true });
  try {
    if (apt(['download', '-q', name], packages) !== 0) return 1;
    const [file = ''] = readdirSync(packages).filter((entry) => entry.startsWith(name));
    const archive = spawnSync('dpkg-deb', ['--fsys-tarfile', join(packages, file)], { maxBuffer: 2 ** 30 });
    const done = spawnSync('tar', ['-x', '-C', directory, `./usr/bin/${command}`], { input: archive.stdout });
    if (done.status !== 0) console.error(`${archive.stderr}${done.stderr}`);
    return done.status ?? 1;
  } finally {
    rmSync(packages, { recursive: true, force: true });
  }
}

function isThere(command: string): boolean {
  if (command.startsWith('/')) return existsSync(command);
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
