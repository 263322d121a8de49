import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setLinkUp } from '#linux/links.ts';
import { unmount } from '#linux/mount.ts';
import { Dockerd } from './dockerd.ts';

/**
 * Runs node with the arguments given while Debian's dockerd serves, for `npm run test:reference`: a test of ours that dockerd fails
 * is our misunderstanding. Expects to be alone in fresh network and mount namespaces (unshare(1)), so that nothing that dockerd
 * does to links, firewall and mounts is seen outside of them.
 */
async function main(args: readonly string[]): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-reference-'));
  setLinkUp('lo');
  try {
    await using dockerd = await Dockerd.start(directory);
    return (
      spawnSync(process.execPath, [...process.execArgv, ...args], {
        stdio: 'inherit',
        env: { ...process.env, DROVER_TEST_REFERENCE: dockerd.socket },
      }).status ?? 1
    );
  } finally {
    // dockerd leaves network namespaces mounted
    for (const path of mountsBelow(directory)) unmount(path);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Innermost first. */
function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();
}

process.exitCode = await main(process.argv.slice(2));
