import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { COMPOSE_FLAGS, DROVER, importCommands } from './example.ts';

const NAME = 'start';
const STACK = 'hello';

interface NodeFacts {
  readonly address: string;
  readonly socket: string;
}

/**
 * `npm start -- --nodes 3`: a cloud of so many nodes with the example deployed on it; says where it is, and takes everything away on
 * Ctrl-C. Arguments are those of `drover cloud up`. Resolves with the exit code.
 */
export async function startCloud(args: readonly string[]): Promise<number> {
  const interrupted = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => interrupted.resolve());
  console.log('Starting the nodes …');
  let code = await drover(['cloud', 'up', NAME, ...managers(args), ...args]);
  const [first] = code === 0 ? nodes() : [];
  if (first !== undefined && !args.includes('--no-swarm')) code = await deploy(first);
  if (code === 0 && first !== undefined) {
    const open = args.includes('--no-swarm')
      ? ''
      : `Open http://${first.address}:8080/ (every node answers).\n`;
    console.log(`
${open}The nodes are machines of their own, each with a daemon. In another shell:
  eval "$(${DROVER} cloud env ${NAME} node1)"    # docker talks to node1
  docker node ls; docker service ls
  ${DROVER} cloud --help                     # stop, crash, cut, heal, …
Press Ctrl-C to take them away.`);
    // a promise alone keeps no process alive
    const waiting = setInterval(() => undefined, 2 ** 30);
    await interrupted.promise;
    clearInterval(waiting);
    console.log('\nStopping …');
  }
  const ended = await drover(['cloud', 'down', NAME]);
  if (ended === 0) console.log('Everything is gone.');
  code ||= ended;
  return code;
}

/** Several managers share an etcd, which need not be on the machine. */
function managers(args: readonly string[]): string[] {
  const isSaid = args.some((arg) => /^--(managers|no-swarm)(=|$)/.test(arg));
  if (isSaid || spawnSync('etcd', ['--version']).status === 0) return [];
  console.log('There is no etcd here, so one of them manages (on Debian: apt-get install etcd-server).');
  return ['--managers', '1'];
}

/** The images are made on the first node; the others get them from there. */
async function deploy({ socket }: NodeFacts): Promise<number> {
  const environment = { DOCKER_HOST: `unix://${socket}` };
  for (const { image, argv } of importCommands()) {
    console.log(`Importing ${image} …`);
    const code = await drover(argv, { environment, isQuiet: true });
    if (code !== 0) return code;
  }
  console.log('Deploying examples/hello …');
  return await drover(['deploy', ...COMPOSE_FLAGS, STACK], { environment });
}

function nodes(): NodeFacts[] {
  const listed = spawnSync(DROVER, ['cloud', 'ls', NAME, '--format', 'json'], { encoding: 'utf8' });
  const [cloud]: { nodes: NodeFacts[] }[] = JSON.parse(listed.stdout);
  return cloud?.nodes ?? [];
}

/** In a session of its own: Ctrl-C is for this script. */
async function drover(
  argv: readonly string[],
  o: { environment?: Record<string, string>; isQuiet?: boolean } = {},
): Promise<number> {
  const child = spawn(DROVER, argv, {
    detached: true,
    env: { ...process.env, ...o.environment },
    stdio: ['ignore', o.isQuiet === true ? 'ignore' : 'inherit', 'inherit'],
  });
  const [code]: unknown[] = await once(child, 'exit');
  return typeof code === 'number' ? code : 1;
}
