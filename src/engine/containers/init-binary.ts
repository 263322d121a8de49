import { existsSync } from 'node:fs';
import { invalid } from '#model/errors.ts';

/** Statically linked programs that reap children and pass signals on, where distributions put them. */
const CANDIDATES: readonly string[] = [
  '/usr/libexec/docker/docker-init',
  '/usr/bin/docker-init',
  '/usr/bin/tini-static',
  '/usr/bin/catatonit',
  '/usr/libexec/podman/catatonit',
];

/** The host's program for `--init`. Throws `invalid` that says what to install where there is none. */
export function findInit(): string {
  const found = CANDIDATES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw invalid('exec: "docker-init": executable file not found in $PATH', {
    hint: 'apt-get install tini, or catatonit',
  });
}
