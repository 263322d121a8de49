import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { COMPOSE_FLAGS, DROVER, importCommands } from './example.ts';
import { startCloud } from './start-cloud.ts';

/**
 * `npm start`: a daemon with its defaults, the example deployed on it, a table of what runs; Ctrl-C takes everything away again,
 * the example's volume included. Arguments are given to the daemon, so that a second one can run elsewhere; with `--nodes` it is a
 * cluster instead.
 */
async function main(daemonArgs: readonly string[]): Promise<number> {
  const host = daemonArgs[daemonArgs.findIndex((arg) => arg === '-H' || arg === '--host') + 1];
  const environment = {
    ...process.env,
    DOCKER_HOST: daemonArgs.length > 0 && host?.startsWith('unix://') ? host : '',
  };
  console.log('Starting the daemon …');
  // In a session of its own: Ctrl-C is for this script, which ends the daemon when the containers are gone.
  const daemon = spawn(DROVER, ['daemon', ...daemonArgs], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const stopped = once(daemon, 'exit');
  const interrupted = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => interrupted.resolve());
  const log: string[] = [];
  const listening = Promise.withResolvers<void>();
  createInterface({ input: daemon.stderr }).on('line', (line) => {
    log.push(line);
    if (line.includes('API listen on')) listening.resolve();
  });
  const ready = await Promise.race([
    listening.promise.then(() => true),
    stopped.then(() => false),
    interrupted.promise.then(() => false),
  ]);
  if (!ready) {
    console.error(log.join('\n'));
    return 1;
  }
  const drover = (args: readonly string[], quiet = false): Promise<number> =>
    exitCode(
      spawn(DROVER, args, {
        env: environment,
        detached: true,
        stdio: ['ignore', quiet ? 'ignore' : 'inherit', 'inherit'],
      }),
    );
  let code = 0;
  for (const { image, argv } of importCommands()) {
    console.log(`Importing ${image} …`);
    code ||= await drover(argv, true);
  }
  console.log('Deploying examples/hello …');
  if (code === 0) code = await drover(['up', ...COMPOSE_FLAGS, '--wait']);
  if (code === 0) {
    console.log('');
    await drover(['ps', ...COMPOSE_FLAGS]);
    console.log('\nOpen http://127.0.0.1:8080/ (and 8081, 8082). Press Ctrl-C to stop it all.');
    await Promise.race([interrupted.promise, stopped]);
    console.log('\nStopping …');
  }
  await drover(['down', ...COMPOSE_FLAGS, '-v', '-t', '1']);
  if (daemon.exitCode === null) daemon.kill('SIGTERM');
  await stopped;
  const ended = await exitCode(
    spawn(DROVER, ['daemon', '--teardown', ...daemonArgs], { detached: true, stdio: 'ignore' }),
  );
  console.log(
    ended === 0
      ? 'Everything is gone; images and settings stay for the next start.'
      : 'Some things could not be taken away.',
  );
  return code === 0 ? ended : code;
}

async function exitCode(child: ReturnType<typeof spawn>): Promise<number> {
  const [code]: unknown[] = await once(child, 'exit');
  return typeof code === 'number' ? code : 1;
}

const args = process.argv.slice(2);
const isCloud = args.some((arg) => /^--nodes(=|$)/.test(arg));
process.exitCode = await (isCloud ? startCloud(args) : main(args));
