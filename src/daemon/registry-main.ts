import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { BlobStore } from '#engine/blobs/blob-store.ts';
import { messageOf } from '#model/errors.ts';
import { BlobDownloads } from '#registry/blob-download.ts';
import { RegistryService } from '#registry/registry.ts';
import { CERTIFICATE_DIRECTORIES } from '#registry/registry-endpoints.ts';
import { DataRootLock } from './data-root-lock.ts';

const HELP = `Usage: drover registry [OPTIONS]

An OCI registry on its own, without a container engine. A daemon serves the same with --registry-addr.

      --addr ADDRESS            where to listen (default 127.0.0.1:5000)
      --data-root DIR           where images are kept (default /var/lib/drover-registry)
      --config FILE             users, rights, TLS, quotas, proxy, storage (YAML or JSON)
      --insecure-registry HOST  for a proxy: the other registry need not have verified TLS, may be repeated
  -l, --log-level LEVEL         debug, info, warn or error (default info)
  -h, --help

Examples:
  drover registry
  drover registry --addr :5000 --config /etc/drover/registry.yaml
`;

const FLAGS = {
  addr: { type: 'string', default: '127.0.0.1:5000' },
  'data-root': { type: 'string', default: '/var/lib/drover-registry' },
  config: { type: 'string' },
  'insecure-registry': { type: 'string', multiple: true },
  'log-level': { type: 'string', short: 'l', default: 'info' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

await main();

async function main(): Promise<void> {
  let flags: ReturnType<typeof parseArgs<{ options: typeof FLAGS }>>['values'];
  try {
    flags = parseArgs({ args: process.argv.slice(2), options: FLAGS }).values;
  } catch (error) {
    process.stderr.write(`drover registry: ${messageOf(error)}\nSee 'drover registry --help'.\n`);
    process.exitCode = 1;
    return;
  }
  if (flags.help) {
    process.stdout.write(HELP);
    return;
  }
  const log = pino({ level: flags['log-level'], base: null }, pino.destination({ dest: 2, sync: true }));
  try {
    await serve(flags, log);
    process.exit(0);
  } catch (error) {
    log.fatal({ err: error }, `failed to start the registry: ${messageOf(error)}`);
    process.exit(1);
  }
}

async function serve(
  flags: {
    addr: string;
    'data-root': string;
    config?: string | undefined;
    'insecure-registry'?: string[] | undefined;
  },
  log: pino.Logger,
): Promise<void> {
  const dataRoot = flags['data-root'];
  mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
  await using stack = new AsyncDisposableStack();
  stack.use(new DataRootLock(dataRoot));
  const blobs = new BlobStore(dataRoot);
  blobs.recover();
  const downloads = new BlobDownloads(dataRoot);
  downloads.recover();
  const service = stack.use(
    await RegistryService.open({
      address: flags.addr,
      configFile: flags.config,
      dataRoot,
      blobs,
      downloads,
      settings: {
        mirrors: [],
        insecure: flags['insecure-registry'] ?? [],
        certificateDirectories: CERTIFICATE_DIRECTORIES,
      },
      log,
    }),
  );
  log.info(`registry listens on port ${service.port}`);
  const stopped = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopped.resolve(signal));
  await stopped.promise;
}
