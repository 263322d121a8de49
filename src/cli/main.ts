import { DroverError, invalid, kindOf, messageOf } from '#model/errors.ts';
import { Command } from './command.ts';
import type { ListedContainer } from './project-state.ts';

const VERSION = '0.1.0';

type Root = Command<[], { host?: string }>;

/** The command line; what each command needs is loaded when it runs, so that `--help` is quick. */
function program(): Root {
  const root: Root = new Command('drover')
    .description('Run containers and Compose projects; every tool that talks to Docker works as well.')
    .option(
      '-H, --host <address>',
      'the daemon to talk to (default: $DOCKER_HOST or unix:///var/run/drover.sock)',
    )
    .version(VERSION)
    .addHelpText(`
Examples:
  drover daemon --help                    the daemon's own flags
  drover import rootfs.tar.gz my/base     make an image of a root file system
  drover build -t app .                   build an image of a Dockerfile
  drover up -d                            run the compose.yaml of this directory
  drover ps --format json                 what runs, for programs
  drover down -v                          stop it all, volumes too
  drover deploy shop                      run it on a cluster, as the stack shop
  drover cloud up demo --nodes 3          a cluster of three daemons on this machine
  drover cluster status                   nodes, store, and what waits, and why`);
  root
    .command('daemon')
    .description('run the daemon (see drover daemon --help)')
    .action(() => refuseFlagsBefore('daemon'));
  root
    .command('registry')
    .description('serve a registry on its own (see drover registry --help)')
    .action(() => refuseFlagsBefore('registry'));
  root
    .command('import <file> [reference]')
    .description('make an image of a root file system archive')
    .list('-c, --change <instruction>', 'apply a Dockerfile instruction')
    .option('-m, --message <text>', 'a comment for the history', '')
    .action(async (file, reference, o) => {
      const { createReadStream, existsSync } = await import('node:fs');
      if (!existsSync(file)) throw invalid(`${file}: no such file`);
      const query = new URLSearchParams({ fromSrc: '-', repo: reference ?? '', message: o.message });
      for (const change of o.change) query.append('changes', change);
      const client = await connect(root);
      for await (const line of client.lines('POST', `/images/create?${query}`, createReadStream(file)))
        console.log(statusOf(line));
    });
  addImageCommands(root);
  addProjectCommands(root);
  root.later(['deploy', 'plan', 'releases', 'rollback', 'stack'], async () => {
    const { addStackCommands } = await import('./stack-commands.ts');
    addStackCommands(root, () => connect(root));
  });
  root.later(['cloud'], async () => {
    const { addCloudCommands } = await import('./cloud.ts');
    addCloudCommands(root);
  });
  root.later(['cluster', 'service', 'network'], async () => {
    const { addClusterCommands } = await import('./cluster.ts');
    addClusterCommands(root, () => connect(root));
  });
  root
    .command('version')
    .description("the versions of this program and of the daemon's API")
    .action(async () => {
      const client = await connect(root);
      const { Version, ApiVersion } = await client.call<{ Version: string; ApiVersion: string }>(
        'GET',
        '/version',
      );
      console.log(`Client: ${VERSION}\nDaemon: ${Version} (API ${ApiVersion})`);
    });
  return root;
}

/** They are programs of their own, and start where their name comes first. */
function refuseFlagsBefore(name: string): never {
  throw invalid(`drover ${name} has flags of its own, which come after it`, {
    hint: `See 'drover ${name} --help'.`,
  });
}

function addImageCommands(root: Root): void {
  root
    .command('build <path>')
    .description('build an image of a Dockerfile; <path> is a directory, an address or - for standard input')
    .option('-f, --file <file>', 'the Dockerfile (default: PATH/Dockerfile), or - for standard input')
    .list('-t, --tag <name>', 'a name for the image')
    .option('--target <stage>', 'the last stage to build')
    .list('--build-arg <name=value>', "an ARG's value; a name alone takes it from the environment")
    .list('--build-context <name=source>', 'a directory, docker-image:// or git address by a name')
    .list('--label <name=value>', "one of the image's labels")
    .list('--annotation <name=value>', "one of the manifest's annotations")
    .option('--platform <os/arch>', 'the platform of the image')
    .option('--no-cache', 'do every step again')
    .list('--no-cache-filter <stages>', 'do the steps of these stages again')
    .option('--pull', 'look for newer base images')
    .option('--push', 'push the tags afterwards')
    .option('--network <mode>', 'network of RUN: default, none or host', 'default')
    .list('--secret <id=…,src=…>', 'a secret for RUN --mount=type=secret; env=NAME takes a variable')
    .list('--ssh <id[=socket]>', 'an ssh agent for RUN --mount=type=ssh')
    .list('--cache-from <source>', 'type=registry,ref=… or type=local,src=…')
    .list('--cache-to <target>', 'type=registry,ref=…, type=local,dest=… or type=inline')
    .list('--add-host <host:ip>', 'a line of /etc/hosts during the build')
    .list('--allow <entitlement>', 'security.insecure or network.host')
    .option('-m, --memory <bytes>', 'memory limit of a step')
    .option('--shm-size <bytes>', 'size of /dev/shm')
    .list('-o, --output <output>', 'type=image, oci, docker, local, tar; dest=…')
    .option('--progress <kind>', 'auto, tty, plain or json', 'auto')
    .option('-q, --quiet', 'print the image ID alone')
    .option('--iidfile <file>', 'write the image ID to a file')
    .option('--metadata-file <file>', "write the result's digests to a file")
    .option('--provenance', 'attach a SLSA provenance attestation')
    .option('--sbom', 'attach an SPDX bill of materials')
    .addHelpText(`
Examples:
  drover build -t app .
  drover build -t app --target test --build-arg VERSION=2 .
  drover build --secret id=token,src=token.txt -o type=local,dest=out .
  drover build -t registry.example.org/app:1 --push --provenance --sbom .`)
    .action(async (path, o) => {
      const { build } = await import('./build.ts');
      await build(await connect(root), path, o);
    });
  root
    .command('pull <image>')
    .description('pull an image from its registry')
    .option('--platform <os/arch>', 'one of the platforms that it is there for')
    .action(async (image, o) => {
      const { pull } = await import('./image-transfer.ts');
      await pull(await connect(root), image, o);
    });
  root
    .command('push <image>')
    .description('push an image to its registry')
    .action(async (image) => {
      const { push } = await import('./image-transfer.ts');
      await push(await connect(root), image);
    });
  const image = root.command('image').description('what images are made of');
  image
    .command('tree')
    .description('each image below the one it was built on')
    .option('--format <format>', 'table or json', 'table')
    .action(async (o) => {
      const { printTree } = await import('./image-tree.ts');
      await printTree(await connect(root), o);
    });
  image
    .command('outdated')
    .description('images whose base has moved, here or at its registry; exit code 1 where there are any')
    .option('--format <format>', 'table or json', 'table')
    .action(async (o) => {
      const { printOutdated } = await import('./image-tree.ts');
      if (await printOutdated(await connect(root), o)) process.exitCode = 1;
    });
  image
    .command('attestations <image>')
    .description('provenance and bill of materials of an image that was built with them, as JSON')
    .action(async (name) => {
      const client = await connect(root);
      console.log(JSON.stringify(await client.call('GET', `/images/${name}/attestations`), undefined, 2));
    });
  image
    .command('rebase <base>')
    .description('bring images up to date that were built on a base which has moved, and those built on them')
    .option('--layers', 'put their layers onto the new base instead of building them again')
    .option('--force', 'the same also for images that install packages of their own')
    .addHelpText(`
Examples:
  drover pull debian:12 && drover image rebase debian:12`)
    .action(async (base, o) => {
      const { rebase } = await import('./image-tree.ts');
      await rebase(await connect(root), base, o);
    });
  root
    .command('login [registry]')
    .description("log in to a registry; kept where Docker's command line keeps it")
    .option('-u, --username <name>', 'user name')
    .option('-p, --password <password>', 'password; better on standard input')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (registry, o) => {
      const { login } = await import('./login.ts');
      await login(await connect(root), registry ?? 'docker.io', o);
    });
  root
    .command('logout [registry]')
    .description('forget the credentials for a registry')
    .action(async (registry) => {
      const { logout } = await import('./login.ts');
      logout(registry ?? 'docker.io');
    });
}

function addProjectCommands(root: Root): void {
  projectCommand(root, 'up [services...]', 'make and start what the Compose file says')
    .option('-d, --detach', 'return when everything is started')
    .option('--force-recreate', 'recreate containers that have not changed')
    .option('--no-recreate', 'leave containers that have changed')
    .option('--remove-orphans', 'remove containers of services that are no longer in the file')
    .list('--scale <service=number>', 'replicas of a service')
    .option('--wait', 'wait until services are healthy; implies --detach')
    .action(async (services, o) => {
      const [{ loadProject }, { up, stopProject }, { Progress }] = await Promise.all([
        import('./project-files.ts'),
        import('./up.ts'),
        import('./progress.ts'),
      ]);
      const project = loadProject(o);
      const client = await connect(root);
      const progress = new Progress();
      const options = { ...o, noRecreate: !o.recreate, scale: parseScale(o.scale), only: services };
      await up(client, project, options, progress);
      if (o.detach || o.wait) return;
      const { printLogs } = await import('./logs.ts');
      const stopping = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
      const following = printLogs(client, project.name, {
        services,
        follow: true,
        tail: 'all',
        timestamps: false,
        signal: stopping.signal,
      });
      await following.catch((error: unknown) => {
        if (!stopping.signal.aborted) throw error;
      });
      await stopProject(client, project.name, undefined, progress);
    });
  projectCommand(root, 'down', 'stop and remove containers and networks')
    .option('-v, --volumes', 'remove the volumes as well')
    .option('--remove-orphans', 'remove containers of services that are no longer in the file')
    .number('-t, --timeout <seconds>', 'how long containers may take to stop')
    .action(async (o) => {
      const [{ loadProject }, { down }, { Progress }] = await Promise.all([
        import('./project-files.ts'),
        import('./down.ts'),
        import('./progress.ts'),
      ]);
      await down(
        await connect(root),
        loadProject({ ...o, profile: ['*'] }),
        { ...o, timeoutSeconds: o.timeout },
        new Progress(),
      );
    });
  projectCommand(root, 'ps', "list the project's containers")
    .option('-a, --all', 'also those that have ended')
    .option('--format <format>', 'table or json', 'table')
    .action(async (o) => {
      const [{ loadProject }, { listContainers }] = await Promise.all([
        import('./project-files.ts'),
        import('./project-state.ts'),
      ]);
      const all = await listContainers(await connect(root), loadProject({ ...o, profile: ['*'] }).name);
      const shown = all
        .filter(({ State }) => o.all || State !== 'exited')
        .sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
      if (o.format === 'json') console.log(JSON.stringify(shown.map(summary), undefined, 2));
      else await printTable(shown);
    });
  projectCommand(root, 'logs [services...]', 'print what the services wrote', '--file <file>')
    .option('-f, --follow', 'go on as they write')
    .option('-n, --tail <lines>', 'only the last lines of each container', 'all')
    .option('-t, --timestamps', 'show when')
    .action(async (services, o) => {
      const [{ loadProject }, { printLogs }] = await Promise.all([
        import('./project-files.ts'),
        import('./logs.ts'),
      ]);
      await printLogs(await connect(root), loadProject({ ...o, profile: ['*'] }).name, { ...o, services });
    });
  projectCommand(root, 'config', 'print the project as it was understood').action(async (o) => {
    const { loadProject } = await import('./project-files.ts');
    const maps = (_key: string, value: unknown): unknown =>
      value instanceof Map ? Object.fromEntries(value) : value;
    console.log(JSON.stringify(loadProject(o), maps, 2));
  });
}

/** `-f` is `--follow` for logs, as with Docker, and a file everywhere else. */
function projectCommand<Usage extends string>(
  root: Root,
  usage: Usage,
  description: string,
  fileFlag: '-f, --file <file>' | '--file <file>' = '-f, --file <file>',
) {
  return root
    .command(usage)
    .description(description)
    .list(fileFlag, 'a Compose file; several are laid over each other')
    .option('-p, --project-name <name>', "the project's name (default: the directory's)")
    .list('--profile <name>', 'also services of this profile')
    .option('--env-file <file>', 'variables for the files (default: .env)')
    .option('--project-directory <path>', 'where relative paths start');
}

async function connect(root: Root): Promise<import('./api-client.ts').ApiClient> {
  const { ApiClient } = await import('./api-client.ts');
  const { host } = root.flags();
  return new ApiClient(host ?? process.env['DOCKER_HOST']);
}

function parseScale(pairs: readonly string[]): Map<string, number> {
  return new Map(
    pairs.map((pair) => {
      const match = /^([^=]+)=(\d+)$/.exec(pair);
      if (match === null) throw invalid(`invalid --scale ${JSON.stringify(pair)}: write service=number`);
      return [match[1] ?? '', Number(match[2])];
    }),
  );
}

function nameOf({ Names }: ListedContainer): string {
  return (Names[0] ?? '').replace(/^\//, '');
}

function portsOf({ Ports }: ListedContainer): string {
  return Ports.map(({ IP, PrivatePort, PublicPort, Type }) =>
    PublicPort === undefined ? `${PrivatePort}/${Type}` : `${IP ?? ''}:${PublicPort}->${PrivatePort}/${Type}`,
  ).join(', ');
}

function summary(container: ListedContainer): object {
  return {
    ID: container.Id,
    Name: nameOf(container),
    Image: container.Image,
    Service: container.Labels['com.docker.compose.service'],
    State: container.State,
    Status: container.Status,
    Ports: portsOf(container),
  };
}

async function printTable(containers: readonly ListedContainer[]): Promise<void> {
  const { formatTable } = await import('./table.ts');
  const rows = containers.map((each) => [
    nameOf(each),
    each.Image,
    each.Labels['com.docker.compose.service'] ?? '',
    each.Status,
    portsOf(each),
  ]);
  process.stdout.write(formatTable(['NAME', 'IMAGE', 'SERVICE', 'STATUS', 'PORTS'], rows));
}

function statusOf(line: unknown): string {
  if (typeof line !== 'object' || line === null) return '';
  if ('error' in line) throw invalid(String(line.error));
  return 'status' in line ? String(line.status) : 'stream' in line ? String(line.stream).trim() : '';
}

/** Every error becomes one line for people, what to do next on a second one, and an exit code. */
async function main(): Promise<void> {
  try {
    if (!(await program().run(process.argv.slice(2)))) process.exitCode = 1;
  } catch (error) {
    const { styleText } = await import('node:util');
    const label = process.stderr.isTTY ? styleText('red', 'error:') : 'error:';
    console.error(`${label} ${messageOf(error)}`);
    if (error instanceof DroverError && error.hint !== undefined) console.error(error.hint);
    process.exitCode = kindOf(error) === 'invalid' ? 2 : 1;
  }
}

await main();
