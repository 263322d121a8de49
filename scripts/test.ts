import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { CLIENTS, installPeers } from './test-peers.ts';

/**
 * Runs the checks: `npm test` all of them, `--only check|unit|integration|reference|projects|clients` one part; the last three are left out
 * of all: `reference` runs the suite of the docker CLI on Debian's dockerd, `projects` builds real projects of Debian packages, `clients`
 * drives a swarm by clients that are large to install. Ends at the first part that fails, with its
 * exit code; the last thing printed is node's own count of the tests.
 */
const ROOT = join(import.meta.dirname, '..');
/** Programs of tests that are not installed on the machine. */
const PEERS = join(ROOT, '.cache/peers');
const ALL = ['check', 'unit', 'integration'] as const;
const PARTS = [...ALL, 'reference', 'projects', 'clients'] as const;
/** Far beyond what any test takes: one that hangs is named, and the run ends. */
const TEST_LIMIT = '--test-timeout=120000';
type Part = (typeof PARTS)[number];

function main(args: readonly string[]): number {
  const asked = args[0] === '--only' ? args[1] : undefined;
  const chosen = asked === undefined ? ALL : PARTS.filter((part) => part === asked);
  if (chosen.length === 0) {
    console.error(`test: ${asked} is not one of ${PARTS.join(', ')}`);
    return 2;
  }
  for (const part of chosen) {
    console.log(`\n== ${part}`);
    const code = runPart(part);
    if (code !== 0) return code;
  }
  return 0;
}

function runPart(part: Part): number {
  switch (part) {
    case 'check':
      return (
        run(['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']) ||
        run(['node_modules/typescript/bin/tsc', '-p', '.'])
      );
    case 'unit':
      // Pure tests share one process: starting one for each file costs more than all of them.
      return run(['--test', '--test-isolation=none', ...unitTests()]);
    case 'integration':
      if (installPeers(PEERS) !== 0) return 1;
      return runIsolated('scripts/run-isolated.ts', [
        ...['--test', '--test-concurrency=2', TEST_LIMIT],
        ...integrationTests(),
      ]);
    case 'clients':
      if (installPeers(PEERS, CLIENTS) !== 0) return 1;
      return runIsolated('scripts/run-isolated.ts', [
        ...['--test', '--test-timeout=300000', ...globSync('test/clients/*.test.ts', { cwd: ROOT })],
      ]);
    case 'projects':
      // On the machine's own network: packages come from Debian's mirror.
      return run(['--test', '--test-timeout=900000', ...globSync('test/projects/*.test.ts', { cwd: ROOT })]);
    case 'reference':
      if (spawnSync('dockerd', ['--version']).status !== 0) {
        console.error('test: dockerd is not installed; install it with: apt-get install docker.io');
        return 1;
      }
      return runIsolated('scripts/run-reference.ts', [
        ...['--test', '--test-concurrency=1', TEST_LIMIT],
        ...globSync('test/{docker,reference}/*.test.ts', { cwd: ROOT }).sort(),
      ]);
  }
}

function unitTests(): string[] {
  return globSync(['src/**/*.test.ts', 'test/*.test.ts'], { cwd: ROOT }).sort();
}

function integrationTests(): string[] {
  return globSync('test/*/**/*.test.ts', {
    cwd: ROOT,
    // those in test/machine want a kernel that this machine may not have: npm run test:machine
    exclude: ['test/reference/**', 'test/projects/**', 'test/clients/**', 'test/machine/**'],
  }).sort();
}

/** In network and mount namespaces of their own: nothing outside is disturbed, and what is left behind is seen. */
function runIsolated(script: string, args: readonly string[]): number {
  return exec('unshare', ['--net', '--mount', '--', process.execPath, ...process.execArgv, script, ...args]);
}

function run(args: readonly string[]): number {
  return exec(process.execPath, [...process.execArgv, ...args]);
}

function exec(program: string, args: readonly string[]): number {
  const PATH = `${process.env['PATH'] ?? ''}:${join(PEERS, 'usr/bin')}`;
  return spawnSync(program, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, PATH } }).status ?? 1;
}

process.exitCode = main(process.argv.slice(2));
