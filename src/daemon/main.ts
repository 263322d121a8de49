import { pino } from 'pino';
import { PRODUCT_VERSION } from '#api/product.ts';
import { messageOf } from '#model/errors.ts';
import { Daemon, tearDown } from './daemon.ts';
import { type Command, type DaemonOptions, HELP, parseCommand } from './daemon-options.ts';

/** How long a stop may take before a second signal, or this, ends it. */
const STOP_LIMIT_MS = 15_000;

await main();

async function main(): Promise<void> {
  const command = readCommand();
  if (command === undefined) return;
  switch (command.kind) {
    case 'help':
      process.stdout.write(HELP);
      return;
    case 'version':
      process.stdout.write(`Drover version ${PRODUCT_VERSION}\n`);
      return;
    case 'run':
      await run(command.options, (options, log) => Daemon.start(options, log));
      return;
    case 'teardown':
      await run(command.options, tearDown);
  }
}

function readCommand(): Command | undefined {
  try {
    return parseCommand(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`drover daemon: ${messageOf(error)}\nSee 'drover daemon --help'.\n`);
    process.exitCode = 1;
    return undefined;
  }
}

type Work = (options: DaemonOptions, log: pino.Logger) => Promise<Daemon | undefined>;

async function run(options: DaemonOptions, work: Work): Promise<void> {
  const log = pino({ level: options.logLevel, base: null }, pino.destination({ dest: 2, sync: true }));
  process.on('uncaughtException', (error) => {
    // what is on disk and in the kernel is what the next start adopts: better gone than half alive
    log.fatal({ err: error }, 'unexpected error, the daemon ends');
    process.exit(70);
  });
  const stopped = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopped.resolve(signal));
  try {
    const daemon = await work(options, log);
    if (daemon === undefined) return;
    const signal = await stopped.promise;
    log.info({ signal }, 'stopping; containers go on running');
    setTimeout(() => {
      log.error('stopping took too long');
      process.exit(1);
    }, STOP_LIMIT_MS).unref();
    await daemon[Symbol.asyncDispose]();
    log.info('stopped');
    process.exit(0);
  } catch (error) {
    log.fatal({ err: error }, `failed to start daemon: ${messageOf(error)}`);
    process.exit(1);
  }
}
