import { invalid } from '#model/errors.ts';
import type { ApiClient } from './api-client.ts';
import type { Command, CommandGroup } from './command.ts';

type Connect = () => Promise<ApiClient>;

export interface RestoreFlags {
  keyFile?: string;
  advertiseAddr: string;
  listenAddr: string;
  dataPathAddr: string;
}

/** `drover cluster`, `drover service` and `drover network`: what an operator asks beyond Docker's commands. */
export function addClusterCommands(root: CommandGroup, connect: Connect): void {
  const cluster = root
    .command('cluster')
    .description('keep a cluster going: its state, backups, the way back; on a manager')
    .addHelpText(`
Examples:
  drover cluster status
  drover cluster backup /backup/cluster-$(date +%F)
  drover cluster restore /backup/cluster-2026-11-21 --key-file /backup/cluster.key
  drover cluster recover                                 when most managers are lost for good`);
  addStateCommands(cluster, connect);
  addBackupCommands(cluster, connect);
  addWhyCommands(root, connect);
}

function addStateCommands(cluster: CommandGroup, connect: Connect): void {
  formatted(
    cluster
      .command('status')
      .description('nodes, who leads, the store and its members, controllers, what waits and why'),
  ).action(async (o) => {
    const { printStatus } = await import('./cluster-status.ts');
    await printStatus(await connect(), formatOf(o));
  });
  cluster
    .command('recover')
    .description('go on with this manager alone, when the others are lost for good; containers run on')
    .option('--force', 'also where the managers have their quorum')
    .addHelpText(`
The other managers become workers. Make sure that they do not run, or cannot reach anybody: two of three that are only cut off are still
a cluster. One that starts later finds that it is no manager any more; promote it then.

Examples:
  drover cluster recover
  docker swarm init --force-new-cluster                  the same`)
    .action(async (o) => {
      const { recover } = await import('./cluster-backup.ts');
      await recover(await connect(), o);
    });
}

function addBackupCommands(cluster: CommandGroup, connect: Connect): void {
  cluster
    .command('compact')
    .description('make the store as small as what it keeps; one that is full can be written again')
    .addHelpText(`
Managers do that by themselves where it helps. Each member serves nothing while its file is written anew: seconds, by its size.

Examples:
  drover cluster compact`)
    .action(async () => {
      const { compact } = await import('./cluster-status.ts');
      await compact(await connect());
    });
  cluster
    .command('backup <file>')
    .description('save all of the cluster as it is now: services, networks, secrets, its CA')
    .option('-q, --quiet', 'do not show the key that a restore asks for')
    .addHelpText(`
What is secret in the file is sealed with the managers' key, which is not in it: keep the key too, and in another place.

Examples:
  drover cluster backup /backup/cluster
  drover cluster key > /safe/cluster.key`)
    .action(async (file, o) => {
      const { backup } = await import('./cluster-backup.ts');
      await backup(await connect(), file, o);
    });
  cluster
    .command('key')
    .description("print the managers' key, which opens backups")
    .action(async () => {
      const client = await connect();
      console.log((await client.call<{ Key: string }>('GET', '/cluster/key')).Key);
    });
  cluster
    .command('restore <file>')
    .description('make this machine, which is in no cluster, the one manager of a backup’s cluster')
    .option('--key-file <file>', "the managers' key (default: asked for on standard input)")
    .option('--advertise-addr <address>', 'where other nodes reach this one', '')
    .option('--listen-addr <address>', 'where it listens', '')
    .option('--data-path-addr <address>', 'for the traffic of overlay networks', '')
    .addHelpText(`
The cluster keeps its CA: nodes that run come back by themselves, at the address that managers had or when this one calls them. Managers of
before become workers; promote them again.

Examples:
  drover cluster restore /backup/cluster --key-file /safe/cluster.key
  drover cluster restore /backup/cluster --advertise-addr 10.0.0.1 < /safe/cluster.key`)
    .action(async (file, o) => {
      const { restore } = await import('./cluster-backup.ts');
      await restore(await connect(), file, o);
    });
}

function addWhyCommands(root: CommandGroup, connect: Connect): void {
  const service = root.command('service').description('why services are as they are');
  formatted(
    service
      .command('explain <service>')
      .description('why each task is on its node, or on none')
      .addHelpText(`
Examples:
  drover service explain web
  drover service explain web --nodes                     also nodes that a placed task is not on`),
  )
    .option('--nodes', 'list the nodes of placed tasks, too')
    .action(async (name, o) => {
      const { printExplanation } = await import('./service-explain.ts');
      await printExplanation(await connect(), name, { ...o, format: formatOf(o) });
    });
  const network = root.command('network').description('whether overlay networks are what they should be');
  formatted(
    network
      .command('check')
      .description("compare every node's networks with what they should be; exit code 1 where they differ")
      .option('--heal', 'make them what they should be')
      .addHelpText('\nExamples:\n  drover network check\n  drover network check --heal'),
  ).action(async (o) => {
    const { printCheck } = await import('./network-check.ts');
    if (!(await printCheck(await connect(), { ...o, format: formatOf(o) }))) process.exitCode = 1;
  });
  formatted(
    network
      .command('why <from> <to>')
      .description(
        'why a service, task or container cannot reach another; exit code 1 where there is a reason',
      )
      .addHelpText('\nExamples:\n  drover network why web db\n  drover network why web.1 10.0.1.7'),
  ).action(async (from, to, o) => {
    const { printWhy } = await import('./network-check.ts');
    if (!(await printWhy(await connect(), from, to, formatOf(o)))) process.exitCode = 1;
  });
}

function formatted<Given extends unknown[], Flags extends object>(command: Command<Given, Flags>) {
  return command.option('--format <format>', 'table or json', 'table');
}

function formatOf({ format }: { format: string }): 'table' | 'json' {
  if (format === 'table' || format === 'json') return format;
  throw invalid(`invalid --format ${format}: table or json`);
}
