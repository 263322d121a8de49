import type { ApiClient } from './api-client.ts';
import type { Command, CommandGroup } from './command.ts';

interface ReleaseLine {
  Number: number;
  CreatedAt: string;
  RollbackOf: number | null;
  State: string;
  Message: string;
  Services: { Name: string; Image: string }[];
}

/** `drover deploy` and its like; what they need is loaded when they run. */
export function addStackCommands(root: CommandGroup, connect: () => Promise<ApiClient>): void {
  stackFiles(
    root.command('deploy [stack]').description('bring a stack to what its Compose file says, on a cluster'),
  )
    .option('-d, --detach', 'return when the release is made')
    .option('--dry-run', 'print what would be done')
    .option('--format <format>', 'of a dry run: text or json', 'text')
    .option('--plan <file>', 'do what a plan says, if nothing has moved since')
    .addHelpText(`
Services are made and updated in the order of depends_on. Where the file says nothing, tasks are updated one at a time, the new
one first where two can be at once, and an update that fails within ten seconds is rolled back. Exit code 1 when it was.

Examples:
  drover deploy shop                              the compose.yaml of this directory
  drover deploy -f shop.yaml -f production.yaml shop
  drover deploy --dry-run shop
  drover plan --out shop.plan shop && drover deploy --plan shop.plan`)
    .action(async (stack, o) => {
      const { deploy } = await import('./deploy.ts');
      await deploy(await connect(), stack, o);
    });
  stackFiles(
    root.command('plan <stack>').description('what drover deploy would do, field by field and task by task'),
  )
    .option('--drift', 'compare the cluster with the last release, and no file')
    .option('--format <format>', 'text or json', 'text')
    .option('--out <file>', 'write the plan for drover deploy --plan; the file holds the secrets')
    .addHelpText(`
Examples:
  drover plan shop
  drover plan -f shop.yaml --format json shop
  drover plan --drift shop                        what somebody has changed since the last release`)
    .action(async (stack, o) => {
      const { plan } = await import('./deploy.ts');
      await plan(await connect(), stack, o);
    });
  root
    .command('releases <stack>')
    .description("a stack's last ten deployments")
    .option('--format <format>', 'table or json', 'table')
    .addHelpText('\nExamples:\n  drover releases shop')
    .action(async (stack, o) => {
      await printReleases(await connect(), stack, o.format);
    });
  root
    .command('rollback <stack> [release]')
    .description('deploy an older release again; by default the one that was deployed before')
    .option('-d, --detach', 'return when the release is made')
    .option('--dry-run', 'print what would be done')
    .option('--format <format>', 'of a dry run: text or json', 'text')
    .addHelpText(
      '\nExamples:\n  drover rollback shop\n  drover rollback shop 3\n  drover rollback --dry-run shop',
    )
    .action(async (stack, release, o) => {
      const { rollBack } = await import('./deploy.ts');
      await rollBack(await connect(), stack, release, o);
    });
  const stack = root
    .command('stack')
    .description('stacks of the cluster; docker stack ps and docker stack services show what is in them');
  stack
    .command('ls')
    .description('list stacks and their newest releases')
    .option('--format <format>', 'table or json', 'table')
    .action(async (o) => {
      await printStacks(await connect(), o.format);
    });
  stack
    .command('rm <stack...>')
    .description('remove stacks with their services, networks, secrets, configs and releases')
    .addHelpText('\nExamples:\n  drover stack rm shop')
    .action(async (stacks) => {
      const client = await connect();
      for (const name of stacks) await client.call('DELETE', `/stacks/${encodeURIComponent(name)}`);
    });
}

function stackFiles<Given extends unknown[], Flags extends object>(command: Command<Given, Flags>) {
  return command
    .list('-f, --file <file>', 'a Compose file; several are laid over each other')
    .list('--profile <name>', 'also services of this profile')
    .option('--env-file <file>', 'variables for the files (default: .env)')
    .option('--project-directory <path>', 'where relative paths start')
    .option(
      '--resolve-image <when>',
      'ask registries for digests: always, changed (of other images only) or never',
      'always',
    )
    .option('--with-registry-auth', 'let the nodes pull with what you are logged in with');
}

async function printReleases(client: ApiClient, stack: string, format: string): Promise<void> {
  const releases = await client.call<ReleaseLine[]>('GET', `/stacks/${encodeURIComponent(stack)}/releases`);
  if (format === 'json') {
    console.log(JSON.stringify(releases, undefined, 2));
    return;
  }
  const { formatTable } = await import('./table.ts');
  const rows = releases.map(({ Number: number, CreatedAt, RollbackOf, State, Message, Services }) => [
    String(number),
    CreatedAt.replace('T', ' ').replace(/\.\d+Z$/, 'Z'),
    State,
    String(Services.length),
    RollbackOf === null ? Message : `as release ${RollbackOf}${Message === '' ? '' : `: ${Message}`}`,
  ]);
  process.stdout.write(formatTable(['RELEASE', 'CREATED', 'STATE', 'SERVICES', 'NOTE'], rows));
}

async function printStacks(client: ApiClient, format: string): Promise<void> {
  const stacks = await client.call<{ Name: string; Services: number; Release: ReleaseLine | null }[]>(
    'GET',
    '/stacks',
  );
  if (format === 'json') {
    console.log(JSON.stringify(stacks, undefined, 2));
    return;
  }
  const { formatTable } = await import('./table.ts');
  const rows = stacks.map(({ Name, Services, Release }) => [
    Name,
    String(Services),
    Release === null ? '–' : String(Release.Number),
    Release?.State ?? '',
  ]);
  process.stdout.write(formatTable(['NAME', 'SERVICES', 'RELEASE', 'STATE'], rows));
}
