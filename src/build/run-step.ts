import { writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { type ImageConfig, shellOf } from '#engine/images/image-settings.ts';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import type { MountPoint } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import { agentSocket } from './agent-socket.ts';
import { cacheKey } from './build-cache.ts';
import type { StepProgress } from './build-progress.ts';
import { expandAt } from './build-stages.ts';
import type { Heredoc, Instruction } from './dockerfile-parser.ts';
import { parseMounts, type RunMount } from './run-mounts.ts';
import {
  contextFiles,
  digestOfFiles,
  type MakeLayer,
  type SourceFiles,
  type StageParts,
  splitPair,
  variablesOf,
} from './stage-parts.ts';
import { filesKey, type StageState } from './stage-state.ts';

/** Passed on to every command without being declared, and never part of a key. */
const PROXY_ARGS = [
  'HTTP_PROXY',
  'http_proxy',
  'HTTPS_PROXY',
  'https_proxy',
  'FTP_PROXY',
  'ftp_proxy',
  'NO_PROXY',
  'no_proxy',
  'ALL_PROXY',
  'all_proxy',
];

/** Carries out RUN: finds out what its command depends on, and runs it where nothing has been made of that before. */
export class RunSteps {
  readonly #parts: StageParts;
  readonly #layer: MakeLayer;

  constructor(parts: StageParts, layer: MakeLayer) {
    this.#parts = parts;
    this.#layer = layer;
  }

  async run(state: StageState, instruction: Instruction): Promise<StageState> {
    const { request } = this.#parts;
    const variables = variablesOf(state);
    const flag = (name: string): string | undefined => {
      const found = instruction.flags.findLast((each) => each.name === name);
      return found === undefined
        ? undefined
        : expandAt(this.#parts.file, instruction, found.value ?? '', variables);
    };
    const network = oneOf('network', flag('network') ?? 'default', ['default', 'none', 'host']);
    const security = oneOf('security', flag('security') ?? 'sandbox', ['sandbox', 'insecure']);
    if (security === 'insecure' && !request.entitlements.includes('security.insecure'))
      throw invalid(
        'RUN --security=insecure is not allowed; build with --allow security.insecure to allow it',
      );
    if (network === 'host' && request.network !== 'host' && !request.entitlements.includes('network.host'))
      throw invalid('RUN --network=host is not allowed; build with --allow network.host to allow it');
    const { args, files, text } = runArguments(state.config, instruction);
    const mounts = parseMounts(this.#parts.file, instruction).map((mount) =>
      expandMount(mount, (each) => expandAt(this.#parts.file, instruction, each, variables)),
    );
    const env = [...(state.config.Env ?? [])];
    const names = new Set(env.map((pair) => splitPair(pair)[0]));
    for (const [name, value] of state.args) if (!names.has(name)) env.push(`${name}=${value}`);
    const sources = await this.#mountSources(mounts, instruction);
    const key = cacheKey(
      'run',
      filesKey(state),
      args,
      files,
      env,
      state.config.User ?? '',
      state.config.WorkingDir ?? '',
      mounts,
      sources.map(({ key: each }) => each),
      network === 'default' ? request.network : network,
      security,
      String(this.#parts.epochNs),
    );
    return await this.#layer(state, {
      name: `RUN ${text}`,
      createdBy: `RUN ${args.join(' ')}`,
      key,
      make: async (step) =>
        this.#execute(state, { args, files, env, mounts, sources, network, security, step }),
    });
  }

  /** What bind and cache mounts take their files from, and what that is. */
  async #mountSources(
    mounts: readonly RunMount[],
    instruction: Instruction,
  ): Promise<{ files: SourceFiles | undefined; key: string }[]> {
    const { context, source } = this.#parts;
    return await Promise.all(
      mounts.map(async (mount) => {
        if (mount.type !== 'bind' && mount.from === undefined) return { files: undefined, key: '' };
        const files =
          mount.from === undefined ? contextFiles(await context()) : await source(mount.from, instruction);
        const key = await digestOfFiles(
          this.#parts,
          { root: '', sources: [mount.source ?? '/'], literal: true, ignore: files.ignore },
          files,
        );
        return { files, key };
      }),
    );
  }

  async #execute(
    state: StageState,
    o: {
      args: readonly string[];
      files: readonly Heredoc[];
      env: readonly string[];
      mounts: readonly RunMount[];
      sources: readonly { files: SourceFiles | undefined }[];
      network: string;
      security: string;
      step: StepProgress;
    },
  ): Promise<{ directory: string | undefined } & AsyncDisposable> {
    const { request, containers, signal } = this.#parts;
    const { limits } = request;
    await using undo = new AsyncDisposableStack();
    const env = [...o.env];
    for (const name of PROXY_ARGS) {
      const value = request.buildArgs[name];
      if (value !== undefined && !env.some((pair) => pair.startsWith(`${name}=`)))
        env.push(`${name}=${value}`);
    }
    const mounts: MountPoint[] = [];
    for (const [index, mount] of o.mounts.entries()) {
      const made = await this.#mountPoint(mount, o.sources[index]?.files, state, undo);
      if (made === undefined) continue;
      if ('variable' in made) env.push(made.variable);
      else mounts.push(made.mount);
      if ('also' in made && made.also !== undefined) env.push(made.also);
    }
    for (const mount of this.#heredocMounts(o.files)) mounts.push(mount);
    const outcome = await containers.run({
      diffIds: state.diffIds,
      args: o.args,
      env,
      user: state.config.User ?? '',
      workingDir: state.config.WorkingDir ?? '/',
      mounts,
      signal,
      output: (stream, data) => o.step.output(stream, data),
      hostConfig: {
        NetworkMode: o.network === 'default' ? request.network : o.network,
        Privileged: o.security === 'insecure',
        ExtraHosts: [...request.extraHosts],
        ...(limits.memory === undefined ? {} : { Memory: limits.memory }),
        ...(limits.memorySwap === undefined ? {} : { MemorySwap: limits.memorySwap }),
        ...(limits.cpuShares === undefined ? {} : { CpuShares: limits.cpuShares }),
        ...(limits.cpuPeriod === undefined ? {} : { CpuPeriod: limits.cpuPeriod }),
        ...(limits.cpuQuota === undefined ? {} : { CpuQuota: limits.cpuQuota }),
        ...(limits.cpusetCpus === undefined ? {} : { CpusetCpus: limits.cpusetCpus }),
        ...(limits.cpusetMems === undefined ? {} : { CpusetMems: limits.cpusetMems }),
        ...(limits.shmSize === undefined ? {} : { ShmSize: limits.shmSize }),
        ...(limits.ulimits === undefined ? {} : { Ulimits: limits.ulimits }),
        ...(limits.cgroupParent === undefined ? {} : { CgroupParent: limits.cgroupParent }),
      },
    });
    undo.use(outcome);
    if (outcome.exitCode !== 0) {
      const why = outcome.oomKilled ? 'ran out of memory' : `returned a non-zero code: ${outcome.exitCode}`;
      throw invalid(`The command '${o.args.join(' ')}' ${why}`, { exitCode: outcome.exitCode });
    }
    const kept = undo.move();
    return { directory: outcome.upper, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  }

  /** Scripts of a RUN that is nothing but heredocs. */
  #heredocMounts(files: readonly Heredoc[]): MountPoint[] {
    return files.map(({ name, content }) => {
      const file = this.#parts.directory.path('exec', 'heredoc');
      writeFileSync(file, content, { mode: 0o755 });
      return bind(file, `/dev/pipes/${name}`, false);
    });
  }

  async #mountPoint(
    mount: RunMount,
    files: SourceFiles | undefined,
    state: StageState,
    undo: AsyncDisposableStack,
  ): Promise<{ mount: MountPoint; also?: string } | { variable: string } | undefined> {
    const { directory, request, cacheMounts } = this.#parts;
    const target =
      mount.target === undefined ? undefined : posix.resolve(state.config.WorkingDir || '/', mount.target);
    switch (mount.type) {
      case 'tmpfs': {
        const options = mount.sizeBytes === undefined ? ['exec'] : ['exec', `size=${mount.sizeBytes}`];
        return { mount: { ...bind('', target ?? '/', true), Type: 'tmpfs', options } };
      }
      case 'bind': {
        if (files === undefined) throw invalid('a bind mount has no source');
        const file = resolveInRoot(await files.root(), mount.source ?? '/');
        if (file === undefined) throw invalid(`mount source ${mount.source ?? '/'} is not there`);
        if (mount.readOnly) return { mount: bind(file, target ?? '/', false) };
        return { mount: bind(directory.scratchOver(file, undo), target ?? '/', true) };
      }
      case 'cache': {
        const seed =
          files === undefined ? undefined : { root: await files.root(), path: mount.source ?? '/' };
        const path = await cacheMounts.use(mount, target ?? '/', seed, undo);
        return { mount: bind(path, target ?? '/', !mount.readOnly) };
      }
      case 'secret': {
        const id = mount.id ?? posix.basename(mount.source ?? mount.target ?? '');
        const secret = await request.secrets.get(id);
        if (secret === undefined) {
          if (mount.required)
            throw invalid(`secret ${id}: not found: give it with --secret id=${id},src=FILE`);
          return undefined;
        }
        if (mount.env !== undefined && mount.target === undefined)
          return { variable: `${mount.env}=${secret.toString('utf8')}` };
        const path = directory.secret(secret, {
          mode: mount.mode ?? 0o400,
          uid: mount.uid ?? 0,
          gid: mount.gid ?? 0,
        });
        const at = { mount: bind(path, target ?? `/run/secrets/${id}`, false) };
        return mount.env === undefined ? at : { ...at, also: `${mount.env}=${secret.toString('utf8')}` };
      }
      case 'ssh': {
        const id = mount.id ?? 'default';
        const dial = await request.ssh.get(id);
        if (dial === undefined) {
          if (mount.required) throw invalid(`ssh agent ${id} is not given: build with --ssh ${id}`);
          return undefined;
        }
        const place = target ?? `/run/buildkit/ssh_agent.${[...request.ssh.keys()].indexOf(id)}`;
        const path = directory.path('exec', 'ssh');
        undo.use(
          await agentSocket(dial, path, {
            mode: mount.mode ?? 0o600,
            uid: mount.uid ?? 0,
            gid: mount.gid ?? 0,
          }),
        );
        return { mount: bind(path, place, true), also: `SSH_AUTH_SOCK=${place}` };
      }
    }
  }
}

function bind(source: string, destination: string, writable: boolean): MountPoint {
  return { Type: 'bind', Source: source, Destination: destination, Mode: '', RW: writable, Propagation: '' };
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw invalid(`--${name}=${value} is none of ${allowed.join(', ')}`);
  return found;
}

function expandMount(mount: RunMount, expand: (text: string) => string): RunMount {
  const text = (value: string | undefined): string | undefined =>
    value === undefined ? undefined : expand(value);
  return {
    ...mount,
    target: text(mount.target),
    source: text(mount.source),
    from: text(mount.from),
    id: text(mount.id),
  };
}

/** What a RUN starts: its list, its line in the shell, or the scripts that follow it. */
function runArguments(
  config: ImageConfig,
  instruction: Instruction,
): { args: string[]; files: Heredoc[]; text: string } {
  const { json, rest, heredocs } = instruction;
  if (json !== undefined) return { args: json, files: [], text: rest };
  const [only, ...others] = heredocs;
  if (only !== undefined && others.length === 0 && /^<<-?["']?[\w.-]+["']?$/.test(rest)) {
    const text = `${rest} ${only.content.split('\n', 1)[0] ?? ''}`;
    // A script that says what runs it is a program; anything else is the shell's.
    if (only.content.startsWith('#!')) return { args: [`/dev/pipes/${only.name}`], files: [only], text };
    return { args: [...shellOf(config), only.content], files: [], text };
  }
  const bodies = heredocs.map(({ content, name }) => `\n${content}${name}`).join('');
  return { args: [...shellOf(config), rest + bodies], files: [], text: rest };
}
