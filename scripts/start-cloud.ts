import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const DROVER = join(import.meta.dirname, '..', 'bin', 'drover');
const NAME = 'start';

/**
 * `npm start -- --nodes 3`: a cloud of so many nodes; says where they are, and takes everything away on Ctrl-C. Arguments are those
 * of `drover cloud up`. Resolves with the exit code.
 */
export async function startCloud(args: readonly string[]): Promise<number> {
  const interrupted = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => interrupted.resolve());
  console.log('Starting the nodes …');
  let code = await cloud('up', NAME, '--no-swarm', ...args);
  if (code === 0) {
    console.log(`
The nodes are machines of their own, each with a daemon, and reach each other by name. In another shell:
  eval "$(${DROVER} cloud env ${NAME} node2)"    # docker talks to node2
  ${DROVER} cloud exec ${NAME} node1 -- ip addr
  ${DROVER} cloud --help                     # stop, crash, cut, heal, …
Press Ctrl-C to take them away.`);
    // a promise alone keeps no process alive
    const waiting = setInterval(() => undefined, 2 ** 30);
    await interrupted.promise;
    clearInterval(waiting);
    console.log('\nStopping …');
  }
  const ended = await cloud('down', NAME);
  if (ended === 0) console.log('Everything is gone.');
  code ||= ended;
  return code;
}

/** In a session of its own: Ctrl-C is for this script. */
async function cloud(...args: string[]): Promise<number> {
  const child = spawn(DROVER, ['cloud', ...args], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code]: unknown[] = await once(child, 'exit');
  return typeof code === 'number' ? code : 1;
}
