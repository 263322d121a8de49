import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { type Engine, isInstalled, startEngines } from './engines.ts';
import { end, run, timed } from './process.ts';
import { median } from './report.ts';

const USAGE = `npm run bench:images -- [--rounds N] [--megabytes N] [--files N] [--write-readme]

Measures building, pushing, pulling and serving images beside dockerd (classic and BuildKit), buildah, podman, skopeo and
docker-registry, where they are installed. Each engine and its registry have a network of their own.
`;
const ROOT = join(import.meta.dirname, '..');
const ROOTFS = join(ROOT, '.cache', 'busybox.tar');
const DROVER = join(ROOT, 'bin', 'drover');
/** Debian's own client speaks BuildKit's protocol without a plugin. */
const BUILDKIT_CLIENT = '/usr/bin/docker';
const PORT = 5055;
const PARALLEL_PULLS = 32;
const SERVED_BYTES = 100 << 20;

/** A way to build, push and pull. */
interface Tool {
  name: string;
  build: (tag: string, context: string) => { command: string[]; env?: NodeJS.ProcessEnv };
  push?: (reference: string) => string[];
  pull?: (reference: string) => string[];
  remove?: (reference: string) => string[];
  load: (archive: string, reference: string) => string[][];
  /** Whose network the tool is in. */
  engine: Engine;
  /** Builds what is posted to /build. */
  takesPosts?: boolean;
}

type Samples = Map<string, Map<string, number[]>>;

const TITLES: Readonly<Record<string, string>> = {
  cold: 'build, multi-stage, nothing cached',
  same: 'build, nothing changed',
  'same-posted': 'the same, posted to the API again: the engine alone',
  source: 'build, one source file changed',
  'many-cold': 'build with a context of many files',
  'many-same': 'the same, nothing changed',
  push: 'push of a large image',
  pull: 'pull of it',
  serve: `${PARALLEL_PULLS} parallel pulls of 100 MB`,
  disk: 'disk used by the large image',
};

function noted(samples: Samples, key: string, name: string, value: number): void {
  const byName = samples.get(key) ?? new Map<string, number[]>();
  samples.set(key, byName.set(name, [...(byName.get(name) ?? []), value]));
}

function inNetworkOf(engine: Engine): string[] {
  return ['nsenter', `--net=/proc/${engine.pid}/ns/net`, '--'];
}

function buildkitTool(name: string, engine: Engine): Tool {
  return {
    name,
    engine,
    build: (tag, context) => ({
      command: [BUILDKIT_CLIENT, '--host', engine.client[2] ?? '', 'build', '-q', '-t', tag, context],
      env: { ...process.env, DOCKER_BUILDKIT: '1' },
    }),
    load: () => [],
  };
}

function tools(engines: readonly Engine[]): Tool[] {
  const found: Tool[] = [];
  for (const engine of engines) {
    const socket = engine.client[2] ?? '';
    if (engine.name === 'drover')
      found.push({
        name: 'drover',
        engine,
        takesPosts: true,
        build: (tag, context) => ({ command: [DROVER, '--host', socket, 'build', '-q', '-t', tag, context] }),
        push: (reference) => [DROVER, '--host', socket, 'push', reference],
        pull: (reference) => [DROVER, '--host', socket, 'pull', reference],
        remove: (reference) => [...engine.client, 'rmi', '-f', reference],
        load: (archive, reference) => [[...engine.client, 'import', archive, reference]],
      });
    if (engine.name === 'drover')
      found.push({
        name: 'drover, docker CLI',
        engine,
        build: (tag, context) => ({
          command: [...engine.client, 'build', '-q', '-t', tag, context],
          env: { ...process.env, DOCKER_BUILDKIT: '0' },
        }),
        load: () => [],
      });
    if (engine.name === 'drover' && isInstalled(BUILDKIT_CLIENT))
      found.push(buildkitTool('drover, BuildKit client', engine));
    if (engine.name === 'dockerd') {
      const classic: Tool = {
        name: 'dockerd',
        engine,
        takesPosts: true,
        build: (tag, context) => ({
          command: [...engine.client, 'build', '-q', '-t', tag, context],
          env: { ...process.env, DOCKER_BUILDKIT: '0' },
        }),
        push: (reference) => [...engine.client, 'push', '-q', reference],
        pull: (reference) => [...engine.client, 'pull', '-q', reference],
        remove: (reference) => [...engine.client, 'rmi', '-f', reference],
        load: (archive, reference) => [[...engine.client, 'import', archive, reference]],
      };
      found.push(classic);
      found.push(buildkitTool('dockerd+BuildKit', engine));
    }
    if (engine.name === 'podman') {
      const podman = engine.client;
      const storage = podman.slice(podman.indexOf('podman') + 1, podman.indexOf('podman') + 5);
      const buildah = [...podman.slice(0, podman.indexOf('podman')), 'buildah', ...storage.slice(0, 4)];
      if (isInstalled('buildah'))
        found.push({
          name: 'buildah',
          engine,
          build: (tag, context) => ({
            command: [
              ...buildah,
              '--storage-driver',
              'overlay',
              'build',
              '--layers',
              '--isolation',
              'oci',
              '-q',
              '-t',
              tag,
              context,
            ],
          }),
          push: (reference) => [...podman, 'push', '-q', '--tls-verify=false', reference],
          pull: (reference) => [...podman, 'pull', '-q', '--tls-verify=false', reference],
          remove: (reference) => [...podman, 'rmi', '-f', reference],
          load: (archive, reference) => [[...podman, 'import', '-q', archive, reference]],
        });
    }
  }
  return found;
}

/** A program compiled from many sources, as far as busybox can: two stages that work, one that takes of both. */
function writeProject(path: string): void {
  mkdirSync(join(path, 'src'), { recursive: true });
  for (let file = 0; file < 300; file += 1)
    writeFileSync(join(path, 'src', `${file}.c`), randomBytes(4000).toString('hex'));
  writeFileSync(join(path, 'deps'), '1');
  writeFileSync(join(path, 'salt'), '0');
  writeFileSync(join(path, 'assets'), randomBytes(200_000).toString('hex'));
  writeFileSync(
    join(path, 'Dockerfile'),
    `FROM bench-bb AS deps
COPY salt deps /deps/
RUN mkdir -p /lib/deps && for i in $(seq 1 400); do cat /deps/deps > /lib/deps/$i; done
FROM deps AS build
COPY src /src
RUN mkdir /out && for f in /src/*.c; do sha256sum $f >> /out/sums; done && cat /src/*.c > /out/program
FROM bench-bb AS assets
COPY salt assets /in/
RUN gzip -9 < /in/assets > /assets.gz
FROM bench-bb
RUN mkdir -p /app
COPY --from=build /out /app/
COPY --from=assets /assets.gz /app/
ENV MODE=production
WORKDIR /app
CMD ["cat", "/app/sums"]
`,
  );
}

function writeManyFiles(path: string, count: number): void {
  for (let directory = 0; directory < count / 100; directory += 1) {
    mkdirSync(join(path, 'tree', String(directory)), { recursive: true });
    for (let file = 0; file < 100; file += 1)
      writeFileSync(join(path, 'tree', String(directory), `${file}.txt`), `${directory} ${file} some text\n`);
  }
  writeFileSync(join(path, 'salt'), '0');
  writeFileSync(
    join(path, 'Dockerfile'),
    'FROM bench-bb\nCOPY salt /salt\nCOPY tree /tree\nRUN ls /tree > /list\n',
  );
}

function build(tool: Tool, tag: string, context: string): number {
  const { command, env } = tool.build(tag, context);
  return timed(command, env);
}

/** Until what others wrote and removed is on disk: nobody after them shall wait for it. */
function settle(): void {
  run(['sync']);
}

/** Milliseconds that an engine takes to build a context, from the request to the end of its answer. */
async function posted({ engine }: Tool, tag: string, context: Buffer): Promise<number> {
  const socketPath = new URL(engine.client[2] ?? '').pathname;
  const began = performance.now();
  const call = request({ socketPath, path: `/build?q=1&t=${tag}`, method: 'POST', agent: false });
  call.setHeader('Content-Type', 'application/x-tar');
  call.end(context);
  const [response]: IncomingMessage[] = await once(call, 'response');
  const said = response === undefined ? '' : await text(response);
  if (!said.includes('sha256:')) throw new Error(`${engine.name} did not build: ${said}`);
  return performance.now() - began;
}

async function measureBuilds(
  samples: Samples,
  all: readonly Tool[],
  home: string,
  rounds: number,
): Promise<void> {
  const project = join(home, 'project');
  writeProject(project);
  // Engines run for months: what a program does differently in its first minute is not what is measured.
  for (const tool of all) for (let turn = 0; turn < 10; turn += 1) build(tool, 'bench-app', project);
  for (let round = 1; round <= rounds; round += 1) {
    console.error(`builds, round ${round} of ${rounds}`);
    for (const tool of all) {
      settle();
      writeFileSync(join(project, 'salt'), randomBytes(8).toString('hex'));
      noted(samples, 'cold', tool.name, build(tool, 'bench-app', project));
      // the first of them still waits for the disk, and they are short
      for (let turn = 0; turn < 7; turn += 1)
        noted(samples, 'same', tool.name, build(tool, 'bench-app', project));
      if (tool.takesPosts === true) {
        const context = execFileSync('tar', ['-C', project, '-c', '.'], { maxBuffer: 1 << 30 });
        // this archive has not been there before
        await posted(tool, 'bench-app', context);
        for (let turn = 0; turn < 3; turn += 1)
          noted(samples, 'same-posted', tool.name, await posted(tool, 'bench-app', context));
      }
      writeFileSync(join(project, 'src', '7.c'), randomBytes(4000).toString('hex'));
      noted(samples, 'source', tool.name, build(tool, 'bench-app', project));
    }
  }
}

function measureManyFiles(
  samples: Samples,
  all: readonly Tool[],
  home: string,
  rounds: number,
  files: number,
): void {
  const many = join(home, 'many');
  mkdirSync(many);
  writeManyFiles(many, files);
  // ext4 keeps the inodes of removed files for a minute, and looks at each of them for every new file: one engine after the other, and who
  // removes a context after each build comes last.
  const inTurn = all.toSorted((a, b) => Number(a.name === 'dockerd') - Number(b.name === 'dockerd'));
  for (const tool of inTurn) {
    console.error(`many files, ${tool.name}`);
    for (let round = 1; round <= Math.min(rounds, 2); round += 1) {
      settle();
      writeFileSync(join(many, 'salt'), randomBytes(8).toString('hex'));
      noted(samples, 'many-cold', tool.name, build(tool, 'bench-many', many));
      // the first of them still waits for the disk
      for (let turn = 0; turn < 2; turn += 1)
        noted(samples, 'many-same', tool.name, build(tool, 'bench-many', many));
    }
  }
}

/** docker-registry in an engine's network, on an empty directory. */
async function startDebianRegistry(engine: Engine, directory: string): Promise<ChildProcess> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const config = join(directory, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${directory}/data}}\nhttp: {addr: '127.0.0.1:${PORT}'}\n`,
  );
  const [program = '', ...argv] = [...inNetworkOf(engine), 'docker-registry', 'serve', config];
  const child = spawn(program, argv, { stdio: 'ignore' });
  await listening(engine);
  return child;
}

async function startDroverRegistry(engine: Engine, directory: string): Promise<ChildProcess> {
  const [program = '', ...argv] = [
    ...inNetworkOf(engine),
    ...[DROVER, 'registry', '--addr', `127.0.0.1:${PORT}`, '--data-root', directory],
  ];
  const child = spawn(program, argv, { stdio: 'ignore' });
  await listening(engine);
  return child;
}

async function listening(engine: Engine): Promise<void> {
  const probe = [...inNetworkOf(engine), 'curl', '-sf', '-o', '/dev/null', `http://127.0.0.1:${PORT}/v2/`];
  for (let tries = 0; tries < 300; tries += 1) {
    try {
      run(probe);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error('the registry did not start');
}

/** Half of it compresses well and half does not, as programs do. */
function writeLargeRootfs(home: string, megabytes: number): string {
  const files = join(home, 'large');
  const archive = join(home, 'large.tar');
  rmSync(files, { recursive: true, force: true });
  mkdirSync(files);
  for (let part = 0; part < megabytes / 10; part += 1)
    writeFileSync(
      join(files, String(part)),
      Buffer.concat([randomBytes(5 << 20), Buffer.alloc(5 << 20, randomBytes(997))]),
    );
  run(['tar', '-cf', archive, '-C', files, '.']);
  rmSync(files, { recursive: true });
  return archive;
}

async function measureTransfers(
  samples: Samples,
  all: readonly Tool[],
  home: string,
  o: { rounds: number; megabytes: number },
): Promise<void> {
  const able = all.filter(({ push }) => push !== undefined);
  const reference = `127.0.0.1:${PORT}/large:1`;
  for (let round = 1; round <= Math.min(o.rounds, 3); round += 1) {
    console.error(`transfers, round ${round}`);
    const archive = writeLargeRootfs(home, o.megabytes);
    for (const tool of able) {
      const registry = await startDebianRegistry(tool.engine, join(home, `registry-${tool.engine.name}`));
      try {
        for (const command of tool.load(archive, reference)) run(command);
        noted(samples, 'push', tool.name, timed(tool.push?.(reference) ?? []));
        run(tool.remove?.(reference) ?? []);
        const before = bytesOf(tool.engine.dataRoot);
        noted(samples, 'pull', tool.name, timed(tool.pull?.(reference) ?? []));
        noted(samples, 'disk', tool.name, bytesOf(tool.engine.dataRoot) - before);
        if (isInstalled('skopeo') && tool.name === 'drover') skopeo(samples, tool.engine, reference, home);
        run(tool.remove?.(reference) ?? []);
      } finally {
        await end(registry);
      }
    }
  }
}

/** Copies without unpacking: less work than the others do. */
function skopeo(samples: Samples, engine: Engine, reference: string, home: string): void {
  const target = join(home, 'skopeo');
  const command = ['skopeo', '--insecure-policy', 'copy', '-q', '--src-tls-verify=false'];
  noted(
    samples,
    'pull',
    'skopeo',
    timed([...inNetworkOf(engine), ...command, `docker://${reference}`, `dir:${target}`]),
  );
  rmSync(target, { recursive: true, force: true });
}

function bytesOf(directory: string): number {
  return Number(run(['du', '-sk', directory]).split(/\s/)[0]) * 1024;
}

/** The same blob from each registry, by curl: what is measured is the server. */
async function measureServing(samples: Samples, engine: Engine, home: string, rounds: number): Promise<void> {
  const file = join(home, 'served');
  writeFileSync(file, randomBytes(SERVED_BYTES));
  const digest = `sha256:${run(['sha256sum', file]).split(' ')[0]}`;
  const inside = inNetworkOf(engine);
  const starts: [string, () => Promise<ChildProcess>][] = [
    ['drover', () => startDroverRegistry(engine, join(home, 'own-registry'))],
  ];
  if (isInstalled('docker-registry'))
    starts.push(['docker-registry', () => startDebianRegistry(engine, join(home, 'serving'))]);
  for (const [name, start] of starts) {
    const registry = await start();
    try {
      const base = `http://127.0.0.1:${PORT}/v2/served/blobs`;
      const head = run([
        ...inside,
        'curl',
        '-si',
        '-X',
        'POST',
        '-H',
        'Content-Length: 0',
        `${base}/uploads/`,
      ]);
      const given = /^location: (\S+)/im.exec(head)?.[1] ?? '';
      const location = new URL(given, `http://127.0.0.1:${PORT}`).href;
      const put = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
      run([
        ...inside,
        'curl',
        '-sf',
        '-X',
        'PUT',
        '-H',
        'Content-Type: application/octet-stream',
        '--data-binary',
        `@${file}`,
        put,
      ]);
      for (let round = 0; round < rounds; round += 1) {
        const pulls = `seq ${PARALLEL_PULLS} | xargs -P ${PARALLEL_PULLS} -I{} curl -sf -o /dev/null ${base}/${digest}`;
        noted(samples, 'serve', name, timed([...inside, 'sh', '-c', pulls]));
      }
    } finally {
      await end(registry);
    }
  }
}

function table(samples: Samples, o: { megabytes: number; files: number }): string {
  const columns = [
    'drover',
    'drover, docker CLI',
    'drover, BuildKit client',
    'dockerd',
    'dockerd+BuildKit',
    'buildah',
    'skopeo',
    'docker-registry',
  ];
  const rows = [['', ...columns]];
  for (const [key, title] of Object.entries(TITLES)) {
    const byName = samples.get(key);
    if (byName === undefined) continue;
    const own = median(byName.get('drover') ?? []);
    const named = title
      .replace('large image', `${o.megabytes} MB image`)
      .replace('many files', `${o.files.toLocaleString('en')} files`);
    rows.push([
      named,
      ...columns.map((name) => {
        const values = byName.get(name);
        if (values === undefined) return '–';
        const value = median(values);
        const text =
          key === 'disk'
            ? `${(value / 1e6).toFixed(0)} MB`
            : value < 1000
              ? `${value.toFixed(0)} ms`
              : `${(value / 1000).toFixed(2)} s`;
        return name === 'drover' ? text : `${text} (${(value / own).toFixed(1)}×)`;
      }),
    ]);
  }
  const [head = [], ...body] = rows;
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
  return [
    line(head),
    `|${head.map((_, index) => (index === 0 ? '---|' : '---:|')).join('')}`,
    ...body.map(line),
  ].join('\n');
}

async function main(): Promise<number> {
  // Where the tests keep programs that are not installed on the machine.
  process.env['PATH'] += `:${join(ROOT, '.cache/peers/usr/bin')}`;
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      megabytes: { type: 'string', default: '500' },
      files: { type: 'string', default: '50000' },
      only: { type: 'string', default: '' },
      'write-readme': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [rounds, megabytes, files] = [Number(values.rounds), Number(values.megabytes), Number(values.files)];
  if (values.help || !(rounds >= 1 && megabytes >= 10 && files >= 100)) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const home = mkdtempSync(join(tmpdir(), 'drover-bench-'));
  try {
    await using closers = new AsyncDisposableStack();
    const engines = await startEngines(home, []);
    for (const engine of engines) closers.use(engine);
    const all = tools(engines);
    for (const tool of all) for (const command of tool.load(ROOTFS, 'bench-bb')) run(command);
    const samples: Samples = new Map();
    const wants = (part: string): boolean => values.only === '' || values.only.split(',').includes(part);
    if (wants('build')) await measureBuilds(samples, all, home, rounds);
    if (wants('transfer') && isInstalled('docker-registry'))
      await measureTransfers(samples, all, home, { rounds, megabytes });
    const [first] = engines;
    if (wants('serve') && first !== undefined) await measureServing(samples, first, home, rounds);
    // last: what it removes slows down all that makes files after it
    if (wants('build')) measureManyFiles(samples, all, home, rounds, files);
    const versions = engines.map(({ name, version }) => `${name} ${version}`).join(', ');
    const text = [
      table(samples, { megabytes, files }),
      '',
      `Medians of up to ${rounds} rounds; in brackets: of Drover’s. ${versions}; ${availableParallelism()} cores, Linux ${release().replace(/-.*/, '')}. The column buildah pushes and pulls with podman; skopeo copies into a folder without unpacking.`,
    ].join('\n');
    console.log(text);
    if (values['write-readme']) {
      const readme = join(ROOT, 'README.md');
      const marked = /(<!-- bench-images -->\n)[\s\S]*?(\n<!-- \/bench-images -->)/;
      writeFileSync(
        readme,
        readFileSync(readme, 'utf8').replace(
          marked,
          (_, start: string, stop: string) => `${start}${text}${stop}`,
        ),
      );
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof SuppressedError ? error.suppressed : error);
  process.exitCode = 1;
}
