import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measureScale } from './cluster-simulation.ts';
import { type Engine, startEngines } from './engines.ts';
import { measureLeader } from './leader-scale.ts';
import { load, type MeasureKey, many, prepare, runOnce, stopAndRemove } from './measures.ts';
import { run } from './process.ts';
import { goals, type Results, table } from './report.ts';
import { BareRuntimes } from './runtime.ts';
import { leaderReport, scaleReport } from './scale-report.ts';

const USAGE = `npm run bench -- [--rounds N] [--only ENGINE[,ENGINE]] [--write-readme]

Measures Drover, and dockerd and podman where they are installed, side by side: in each round every engine does every
measure once, one engine after the other. Prints medians, and what the others' are of Drover's; writes all samples to
bench/results/latest.json. Without --only it ends with a simulated cluster of 5,000 nodes, a tenth as large as bench:cluster's and
bench:leader's: the scheduler alone, and the whole leader.

  npm run bench
  npm run bench -- --rounds 1 --only drover
`;
const ROOT = join(import.meta.dirname, '..');
const ROOTFS = join(ROOT, '.cache', 'busybox.tar');
const RUNS_A_ROUND = 4;
const SCALE = {
  ...{ nodes: 5000, services: 100, tasks: 1000, round: 1000 },
  progress: (text: string) => console.error(text),
};

const LEADER_SCALE = { ...SCALE, tasksOfService: 1000, sizes: [1000, 10_000, 100_000] };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
      'write-readme': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (values.help || !Number.isInteger(rounds) || rounds < 1) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const home = mkdtempSync(join(tmpdir(), 'drover-bench-'));
  try {
    await measureAll(home, {
      rounds,
      only: values.only.split(',').filter(Boolean),
      write: values['write-readme'],
    });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  if (values.only !== '') return 0;
  console.log(`\n${scaleReport(measureScale(SCALE))}`);
  console.log(`\n${leaderReport(await measureLeader(LEADER_SCALE))}`);
  return 0;
}

async function measureAll(
  home: string,
  o: { rounds: number; only: readonly string[]; write: boolean },
): Promise<void> {
  await using closers = new AsyncDisposableStack();
  const engines = await startEngines(home, o.only);
  for (const engine of engines) closers.use(engine);
  const runtimes = new BareRuntimes(home, ROOTFS);
  for (const engine of engines) prepare(engine, ROOTFS);
  const results: Results = new Map();
  const note = (key: MeasureKey, name: string, value: number): void => {
    const byEngine = results.get(key) ?? new Map<string, number[]>();
    results.set(key, byEngine.set(name, [...(byEngine.get(name) ?? []), value]));
  };
  for (let round = 1; round <= o.rounds; round += 1) {
    console.error(`round ${round} of ${o.rounds}`);
    for (let turn = 0; turn < RUNS_A_ROUND; turn += 1) {
      for (const engine of engines) note('run-none', engine.name, runOnce(engine, 'none'));
      for (const engine of engines) note('run-bridge', engine.name, runOnce(engine, 'bridge'));
      for (const name of runtimes.names) note('run-none', name, runtimes.run(name));
    }
    for (const engine of engines) note('stop-remove', engine.name, stopAndRemove(engine));
    for (const engine of engines) {
      for (const [key, value] of await many(engine)) note(key, engine.name, value);
    }
  }
  // At the end: removing thousands of files keeps the file system busy for a while.
  const image = bigImage(home, engines);
  for (let round = 1; round <= o.rounds; round += 1) {
    console.error(`load, round ${round} of ${o.rounds}`);
    for (const engine of engines) note('load', engine.name, load(engine, image.archive, image.reference));
  }
  report(engines, runtimes, results, o);
}

/** An image as `save` writes it, made by the first engine: all load the same archive. */
function bigImage(home: string, [engine]: readonly Engine[]): { archive: string; reference: string } {
  if (engine === undefined) throw new Error('no engine is left to measure');
  const files = join(home, 'files');
  for (let directory = 0; directory < 40; directory += 1) {
    const path = join(files, String(directory));
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < 100; file += 1)
      writeFileSync(join(path, `${file}`), noise(12_000, directory * 100 + file));
  }
  writeFileSync(join(files, 'large'), noise(64 << 20, 4711));
  const reference = 'bench-big:latest';
  const [rootfs, archive] = [join(home, 'big-rootfs.tar'), join(home, 'big.tar')];
  run(['tar', '-cf', rootfs, '-C', files, '.']);
  run([...engine.client, 'import', rootfs, reference]);
  run([...engine.client, 'save', '--output', archive, reference]);
  run([...engine.client, 'rmi', reference]);
  return { archive, reference };
}

/** Bytes that do not compress well, the same in every run. */
function noise(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed * 2654435761 + 1;
  for (let at = 0; at < words.length; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return Buffer.from(words.buffer, 0, length);
}

function report(
  engines: readonly Engine[],
  runtimes: BareRuntimes,
  results: Results,
  o: { rounds: number; write: boolean },
): void {
  const names = [...engines.map(({ name }) => name), ...runtimes.names];
  const versions = engines.map(({ name, version }) => `${name} ${version}`).join(', ');
  const cli = run(['docker', '--version']).replace(/,.*/, '');
  const reached = goals(results);
  const text = [
    table(results, names),
    '',
    `Medians of ${o.rounds} rounds; in brackets: of Drover’s. ${versions}; ${cli}; ${availableParallelism()} cores, Linux ${release().replace(/-.*/, '')}.`,
    'crun and runc are the bare runtimes; podman is driven by its own client. Memory is the proportional set size of the engine’s own processes.',
    '',
    ...reached.map((goal) => `- ${goal.reached ? 'reached' : 'NOT reached'}: ${goal.text}`),
  ].join('\n');
  console.log(text);
  const directory = join(ROOT, 'bench', 'results');
  mkdirSync(directory, { recursive: true });
  const samples = Object.fromEntries(
    [...results].map(([key, byEngine]) => [key, Object.fromEntries(byEngine)]),
  );
  const record = {
    date: new Date().toISOString(),
    versions,
    cli,
    rounds: o.rounds,
    goals: reached,
    samples,
  };
  writeFileSync(join(directory, 'latest.json'), `${JSON.stringify(record, null, 2)}\n`);
  if (!o.write) return;
  const readme = join(ROOT, 'README.md');
  const marked = /(<!-- bench -->\n)[\s\S]*?(\n<!-- \/bench -->)/;
  writeFileSync(
    readme,
    readFileSync(readme, 'utf8').replace(marked, (_, head: string, tail: string) => `${head}${text}${tail}`),
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  const first = error instanceof SuppressedError ? error.suppressed : error;
  console.error(first, error);
  process.exitCode = 1;
}
