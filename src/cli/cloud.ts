import type { CloudRoot } from '#cloud/cloud-place.ts';
import { invalid } from '#model/errors.ts';
import type { Command, CommandGroup } from './command.ts';

type CloudCommand = Command<[], { root?: string }>;
type Operations = typeof import('#cloud/cloud.ts');

/** `drover cloud`; what its commands need is loaded when they run. */
export function addCloudCommands(root: CommandGroup): void {
  const cloud: CloudCommand = root
    .command('cloud')
    .description('a whole cluster on this machine: daemons in namespaces of their own, joined by a bridge')
    .option('--root <dir>', 'where clouds are kept (default: $DROVER_CLOUD_ROOT, or /var/lib and /run)')
    .addHelpText(`
Examples:
  drover cloud up demo --nodes 5 --managers 3
  eval "$(drover cloud env demo)"                        docker talks to node1
  drover cloud exec demo node2 -- ping -c 1 node1
  drover cloud cut demo node3                            nothing reaches node3 any more
  drover cloud cut demo node1 --from node2 node3         two single links
  drover cloud heal demo
  drover cloud crash demo node2 && drover cloud start demo node2
  drover cloud down demo                                 leaves nothing`);
  addWholeCommands(cloud);
  addNodeCommands(cloud);
  addLinkCommands(cloud);
}

function addWholeCommands(cloud: CloudCommand): void {
  cloud
    .command('up <name> [daemon-flags...]')
    .description('make a cloud, or finish one; flags after -- are for each daemon')
    .number('--nodes <number>', 'how many nodes', 3)
    .number('--managers <number>', 'how many of them are managers (default: 3, or 1 of fewer nodes)')
    .option('--memory-root', 'keep the data in memory')
    .option('--data-root <dir>', 'keep the data in a directory of this one')
    .option('--subnet <cidr>', "the nodes' network (default: a free one)")
    .option('--internet', "let nodes out through this machine's addresses")
    .option('--no-swarm', 'leave the nodes apart')
    .addHelpText(`
Examples:
  drover cloud up demo
  drover cloud up demo --nodes 5 --managers 3 --memory-root
  drover cloud up demo --no-swarm -- --log-level debug`)
    .action(async (name, daemonFlags, o) => {
      const operations = await import('#cloud/cloud.ts');
      const managers = o.managers ?? (o.nodes < 3 ? 1 : 3);
      const { subnet, dataRoot } = o;
      const request = { ...o, managers, subnet, dataRoot, daemonFlags };
      await operations.raiseCloud(await rootOf(cloud), name, request);
      if (o.swarm) {
        const { joinSwarm } = await import('./cloud-swarm.ts');
        await joinSwarm(await viewOf(cloud, name));
      }
      await list(cloud, name, 'table');
    });
  cloud
    .command('down <name...>')
    .description('take clouds away, their data too')
    .action(async (names) => {
      const operations = await import('#cloud/cloud.ts');
      for (const name of names) await operations.removeCloud(await rootOf(cloud), name);
    });
  cloud
    .command('ls [name]')
    .description('list clouds and their nodes')
    .option('--format <format>', 'table or json', 'table')
    .action(async (name, o) => {
      await list(cloud, name, o.format);
    });
  cloud
    .command('env [name] [node]')
    .description('print what makes a shell talk to a node (default: node1)')
    .option('--unset', 'print what ends that')
    .addHelpText(`
Examples:
  eval "$(drover cloud env demo node2)"
  eval "$(drover cloud env --unset)"`)
    .action(async (name, node, o) => {
      if (o.unset) {
        console.log('unset DOCKER_HOST');
        return;
      }
      if (name === undefined) throw invalid('name a cloud, or say --unset');
      const { socket } = await nodeOf(cloud, name, node ?? 'node1');
      console.log(`export DOCKER_HOST='unix://${socket.replaceAll("'", `'\\''`)}'`);
    });
}

function addNodeCommands(cloud: CloudCommand): void {
  cloud
    .command('exec <name> <node> <command...>')
    .description("run a command in a node's namespaces")
    .passThrough()
    .addHelpText('\nExamples:\n  drover cloud exec demo node1 -- ping -c 1 node2')
    .action(async (name, node, command) => {
      const { runOnNode } = await import('#cloud/node-command.ts');
      // handed over as it is, with the -- before the command
      const own = command[0] === '--' ? command.slice(1) : command;
      if (own.length === 0) throw invalid('name a command after --');
      process.exitCode = await runOnNode(await rootOf(cloud), name, node, own);
    });
  cloud
    .command('logs <name> <node>')
    .description("print what a node's daemon wrote")
    .option('-f, --follow', 'go on as it writes')
    .option('-n, --tail <lines>', 'only the last lines', 'all')
    .action(async (name, node, o) => {
      const { printLog } = await import('#cloud/node-command.ts');
      process.exitCode = await printLog(await rootOf(cloud), name, node, o);
    });
  nodeCommand(cloud, 'stop', "end a node's daemon in order; its containers go on", (o, ...node) =>
    o.stopNode(...node, 'SIGTERM'),
  );
  nodeCommand(cloud, 'kill', "end a node's daemon with SIGKILL; its containers go on", (o, ...node) =>
    o.stopNode(...node, 'SIGKILL'),
  );
  nodeCommand(cloud, 'start', 'start a node that was stopped, killed or crashed', (o, ...node) =>
    o.startNode(...node),
  );
  nodeCommand(cloud, 'upgrade', "replace a node's daemon; its containers go on", (o, ...node) =>
    o.upgradeNode(...node),
  );
  nodeCommand(cloud, 'crash', 'end a node as a power failure does: only its data is left', (o, ...node) =>
    o.crashNode(...node),
  );
}

function addLinkCommands(cloud: CloudCommand): void {
  cloud
    .command('cut <name> <node>')
    .description('let nothing through to and from a node')
    .option('--from <nodes...>', 'only between it and these nodes')
    .action(async (name, node, o) => {
      const operations = await import('#cloud/cloud.ts');
      await operations.cutNode(await rootOf(cloud), name, node, o.from ?? []);
    });
  cloud
    .command('heal <name> [node]')
    .description('end the cuts of a node, or all')
    .action(async (name, node) => {
      const operations = await import('#cloud/cloud.ts');
      await operations.healNodes(await rootOf(cloud), name, node);
    });
}

type NodeChange = (operations: Operations, ...node: [CloudRoot, string, string]) => Promise<void>;

/** A command that is given nodes and does the same with each, one after the other. */
function nodeCommand(cloud: CloudCommand, verb: string, description: string, change: NodeChange): void {
  cloud
    .command(`${verb} <name> <nodes...>`)
    .description(description)
    .action(async (name, nodes) => {
      const operations = await import('#cloud/cloud.ts');
      for (const node of nodes) await change(operations, await rootOf(cloud), name, node);
    });
}

async function rootOf(cloud: CloudCommand): Promise<CloudRoot> {
  const { cloudRoot } = await import('#cloud/cloud-place.ts');
  return cloudRoot(cloud.flags().root);
}

async function viewOf(cloud: CloudCommand, name: string): Promise<import('#cloud/cloud-view.ts').CloudView> {
  const { viewCloud } = await import('#cloud/cloud-view.ts');
  return await viewCloud(await rootOf(cloud), name);
}

async function nodeOf(
  cloud: CloudCommand,
  name: string,
  node: string,
): Promise<import('#cloud/cloud-place.ts').NodePlace> {
  const [{ cloudPlace, nodePlace }, state] = await Promise.all([
    import('#cloud/cloud-place.ts'),
    import('#cloud/cloud-state.ts'),
  ]);
  const place = cloudPlace(await rootOf(cloud), name);
  return nodePlace(place, state.nodeOf(state.readCloud(place), node).name);
}

async function list(cloud: CloudCommand, name: string | undefined, format: string): Promise<void> {
  if (format !== 'table' && format !== 'json') throw invalid(`invalid --format ${format}: table or json`);
  const { viewClouds } = await import('#cloud/cloud-view.ts');
  const clouds = name === undefined ? await viewClouds(await rootOf(cloud)) : [await viewOf(cloud, name)];
  if (format === 'json') {
    console.log(JSON.stringify(clouds, undefined, 2));
    return;
  }
  const { formatTable } = await import('./table.ts');
  const rows = clouds.flatMap((each) =>
    each.nodes.map((node) => [
      ...[each.name, node.name, node.role, node.state, node.address],
      ...[node.cutFrom.join(',').replace('*', 'all'), node.socket],
    ]),
  );
  const titles = ['CLOUD', 'NODE', 'ROLE', 'STATE', 'ADDRESS', 'CUT FROM', 'SOCKET'];
  process.stdout.write(formatTable(titles, rows));
}
