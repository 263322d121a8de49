import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Runs the checks: `npm test` all of them, `--only check|unit|integration` one part. Ends at the first part that fails, with its
 * exit code; the last thing printed is node's own count of the tests.
 */
const ROOT = join(import.meta.dirname, '..');
const PARTS = ['check', 'unit', 'integration'] as const;
type Part = (typeof PARTS)[number];

function main(args: readonly string[]): number {
  const asked = args[0] === '--only' ? args[1] : undefined;
  const chosen = PARTS.filter((part) => asked === undefined || part === asked);
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
      return run(['--test', '--test-concurrency=2', ...integrationTests()]);
  }
}

function unitTests(): string[] {
  return [...globSync('src/**/*.test.ts', { cwd: ROOT }), 'test/architecture.test.ts'].sort();
}

function integrationTests(): string[] {
  return globSync('test/*/**/*.test.ts', { cwd: ROOT }).sort();
}

function run(args: readonly string[]): number {
  return (
    spawnSync(process.execPath, [...process.execArgv, ...args], { cwd: ROOT, stdio: 'inherit' }).status ?? 1
  );
}

process.exitCode = main(process.argv.slice(2));
