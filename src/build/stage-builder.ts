import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { Lease } from '#engine/blobs/blob-store.ts';
import { fileModeChange } from '#engine/layers/file-mode.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import type { TreeSelection } from '#engine/layers/tree-selection.ts';
import { resolveUser } from '#engine/runtime/user-lookup.ts';
import type { MountPoint } from '#model/container.ts';
import { DroverError, invalid, messageOf } from '#model/errors.ts';
import { type AddedFiles, fetchAddSource, isRemoteSource } from './add-sources.ts';
import { type BuildCache, type CacheRecord, cacheKey } from './build-cache.ts';
import type { BuildContext } from './build-contexts.ts';
import type { BuildDirectory } from './build-filesystems.ts';
import type { BuildProgress, StepProgress } from './build-progress.ts';
import type { BuildRequest } from './build-request.ts';
import {
  argPairs,
  type BuildStage,
  expandAt,
  expandWordsAt,
  problemsOf,
  splitWords,
} from './build-stages.ts';
import type { CacheMounts } from './cache-mounts.ts';
import {
  type Heredoc,
  type Instruction,
  jsonList,
  type ParsedDockerfile,
  parseDockerfile,
} from './dockerfile-parser.ts';
import { DockerfileProblem } from './dockerfile-problem.ts';
import {
  commandOf,
  healthcheckOf,
  type ImageConfig,
  shellOf,
  withEnv,
  withPorts,
  withStopSignal,
  withVolumes,
} from './image-config.ts';
import { parseMounts, type RunMount } from './run-mounts.ts';
import { filesKey, type StageState, withConfig, withLayer } from './stage-state.ts';
import type { StepContainers } from './step-container.ts';
import { readPasswd } from './step-users.ts';
import { expandKeepingQuotes, type Variables } from './variable-expansion.ts';

/** What the stages of one build share. */
export interface StageParts {
  file: ParsedDockerfile;
  request: BuildRequest;
  layers: LayerStore;
  cache: BuildCache;
  cacheMounts: CacheMounts;
  containers: StepContainers;
  directory: BuildDirectory;
  lease: Lease;
  progress: BuildProgress;
  signal: AbortSignal;
  /** TARGETPLATFORM and the like. */
  platformArgs: Readonly<Record<string, string>>;
  globalArgs: ReadonlyMap<string, string | undefined>;
  /** SOURCE_DATE_EPOCH in nanoseconds; layers hold no later time. */
  epochNs: bigint | undefined;
  /** The build's own context. */
  context: () => Promise<BuildContext>;
  /** Files of a stage, an image or a named context. */
  source: (name: string, instruction: Instruction) => Promise<SourceFiles>;
  /** Looks for a step's result in caches of elsewhere. */
  importStep: (key: string) => Promise<CacheRecord | undefined>;
  /** Notes a step for the caches that are exported. */
  noteStep: (key: string) => void;
}

/** Files that a step takes from somewhere. */
export interface SourceFiles {
  /** Where they are; made ready when it is asked for. */
  root: () => string;
  ignore: readonly string[];
  /** What they are, where that is known without reading them. */
  contentKey: string | undefined;
  /** Owners are those of the files; the context's files belong to root. */
  keepsOwners: boolean;
  isStable: boolean;
}

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

/** Flags of each instruction; others are refused by name. */
const FLAGS: Readonly<Record<string, readonly string[]>> = {
  RUN: ['mount', 'network', 'security'],
  COPY: ['from', 'chown', 'chmod', 'link', 'parents', 'exclude'],
  ADD: ['chown', 'chmod', 'link', 'checksum', 'keep-git-dir', 'exclude', 'unpack'],
  HEALTHCHECK: ['interval', 'timeout', 'start-period', 'start-interval', 'retries'],
};

/** Builds one stage: its instructions one after the other, each from the cache where nothing it depends on has changed. */
export class StageBuilder {
  readonly #parts: StageParts;
  readonly #stage: BuildStage;
  readonly #at: ReturnType<typeof problemsOf>;
  readonly #noCache: boolean;
  #total: number;
  #number = 1;

  constructor(parts: StageParts, stage: BuildStage) {
    this.#parts = parts;
    this.#stage = stage;
    this.#at = problemsOf(parts.file);
    const { noCache, noCacheStages } = parts.request;
    const isNamed = noCacheStages.some(
      (name) => name.toLowerCase() === stage.name || name === String(stage.index),
    );
    this.#noCache = noCacheStages.length > 0 ? isNamed : noCache;
    this.#total = stage.instructions.length + 1;
  }

  /** From the state of its base to its own. */
  async build(base: StageState): Promise<StageState> {
    let state = await this.#triggers(base);
    for (const instruction of this.#stage.instructions) {
      this.#parts.signal.throwIfAborted();
      this.#number += 1;
      state = await this.#step(state, instruction);
    }
    return state;
  }

  /** What the base has left to be done with ONBUILD. */
  async #triggers(base: StageState): Promise<StageState> {
    const triggers = base.config.OnBuild ?? [];
    if (triggers.length === 0) return base;
    let state: StageState = { ...base, config: { ...base.config, OnBuild: null } };
    this.#total += triggers.length;
    for (const trigger of triggers) {
      const { instructions } = parseDockerfile(trigger, 'ONBUILD');
      for (const instruction of instructions) {
        if (['FROM', 'ONBUILD', 'MAINTAINER'].includes(instruction.keyword))
          throw this.#at(
            this.#stage.from,
            `${instruction.keyword} isn't allowed as an ONBUILD trigger of the base`,
          );
        this.#number += 1;
        state = await this.#step(state, { ...instruction, place: this.#stage.from.place });
      }
    }
    return state;
  }

  async #step(state: StageState, instruction: Instruction): Promise<StageState> {
    const allowed = FLAGS[instruction.keyword] ?? [];
    const unknown = instruction.flags.find(({ name }) => !allowed.includes(name));
    if (unknown !== undefined)
      throw this.#at(instruction, `unknown flag: --${unknown.name} of ${instruction.keyword}`);
    try {
      return await this.#run(state, instruction);
    } catch (error) {
      // What the instruction itself is to blame for is shown where it stands.
      const isOwn =
        error instanceof DroverError && ['invalid', 'not-found', 'not-implemented'].includes(error.kind);
      if (!isOwn || error instanceof DockerfileProblem) throw error;
      throw this.#at(instruction, error.message, error);
    }
  }

  async #run(state: StageState, instruction: Instruction): Promise<StageState> {
    const { rest, json } = instruction;
    const { config } = state;
    const variables = this.#variables(state);
    const expand = (text: string): string => expandAt(this.#parts.file, instruction, text, variables);
    const words = (text: string): string[] => expandWordsAt(this.#parts.file, instruction, text, variables);
    const changed = (next: ImageConfig, text = rest): StageState =>
      withConfig(state, next, `${instruction.keyword} ${text}`);
    switch (instruction.keyword) {
      case 'RUN':
        return await this.#runCommand(state, instruction);
      case 'COPY':
        return await this.#copy(state, instruction);
      case 'ADD':
        return await this.#add(state, instruction);
      case 'WORKDIR':
        return await this.#workdir(state, expand(rest));
      case 'ARG':
        return this.#declareArgs(state, instruction);
      case 'ENV': {
        const pairs = this.#pairs(instruction, expand);
        return changed(
          withEnv(
            config,
            pairs.map(([name, value]) => `${name}=${value}`),
          ),
          shown(pairs),
        );
      }
      case 'LABEL': {
        const pairs = this.#pairs(instruction, expand);
        return changed(
          { ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairs) } },
          shown(pairs),
        );
      }
      case 'CMD':
        return changed({ ...config, Cmd: commandOf(config, json, rest) });
      case 'ENTRYPOINT': {
        // A command that came from the base belongs to the base's entrypoint.
        const own = state.history.some(
          (entry) => entry.created_by?.startsWith('CMD ') === true && entry.created === undefined,
        );
        return changed({
          ...config,
          Entrypoint: commandOf(config, json, rest),
          Cmd: own ? (config.Cmd ?? null) : null,
        });
      }
      case 'SHELL':
        if (json === undefined || json.length === 0)
          throw invalid('SHELL requires the arguments to be in JSON form');
        return changed({ ...config, Shell: json });
      case 'EXPOSE':
        return changed(withPorts(config, words(rest)));
      case 'VOLUME':
        return changed(
          withVolumes(config, (json ?? splitWords(rest, this.#parts.file.escapeToken)).map(expand)),
        );
      case 'USER':
        return changed({ ...config, User: expand(rest) });
      case 'STOPSIGNAL':
        return changed(withStopSignal(config, expand(rest)));
      case 'HEALTHCHECK':
        return changed({ ...config, Healthcheck: healthcheckOf(instruction.flags, rest, jsonList) });
      case 'MAINTAINER':
        return { ...withConfig(state, config, `MAINTAINER ${rest}`), author: rest };
      case 'ONBUILD': {
        const trigger = rest.split(/\s/, 1)[0]?.toUpperCase() ?? '';
        if (trigger === 'ONBUILD') throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
        if (trigger === 'FROM' || trigger === 'MAINTAINER')
          throw invalid(`${trigger} isn't allowed as an ONBUILD trigger`);
        const bodies = instruction.heredocs.map(({ name, content }) => `\n${content}${name}`).join('');
        return changed({ ...config, OnBuild: [...(config.OnBuild ?? []), rest + bodies] });
      }
      default:
        throw invalid(`${instruction.keyword} cannot stand here`);
    }
  }

  /** ENV counts before ARG. */
  #variables(state: StageState): Variables {
    const env = new Map((state.config.Env ?? []).map((pair) => splitPair(pair)));
    return (name) => env.get(name) ?? state.args.get(name);
  }

  #declareArgs(state: StageState, instruction: Instruction): StageState {
    const { globalArgs, platformArgs, request } = this.#parts;
    const args = new Map(state.args);
    for (const { name, value } of argPairs(
      this.#parts.file,
      instruction,
      this.#variables({ ...state, args }),
    )) {
      const given =
        request.buildArgs[name] ??
        value ??
        (globalArgs.has(name) ? globalArgs.get(name) : platformArgs[name]);
      if (given !== undefined) args.set(name, given);
    }
    return { ...withConfig(state, state.config, `ARG ${instruction.rest}`), args };
  }

  /** `key=value …`, or the older `key value`. */
  #pairs(instruction: Instruction, expand: (text: string) => string): [string, string][] {
    const { rest, keyword } = instruction;
    const words = splitWords(rest, this.#parts.file.escapeToken);
    const [first = ''] = words;
    if (!first.includes('=')) {
      const value = rest.slice(first.length).trim();
      if (value === '') throw invalid(`${keyword} must have two arguments`);
      return [[expand(first), expand(value)]];
    }
    return words.map((word) => {
      const equals = word.indexOf('=');
      if (equals < 1)
        throw invalid(
          `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
        );
      return [expand(word.slice(0, equals)), expand(word.slice(equals + 1))];
    });
  }

  // -- steps that make a layer

  /** Takes the step's layer from a cache, or makes it. */
  async #layer(
    state: StageState,
    o: {
      name: string;
      createdBy: string;
      key: string;
      /** Gives the directory that becomes the layer; undefined where nothing changed. */
      make: (step: StepProgress) => Promise<{ directory: string | undefined } & AsyncDisposable>;
    },
  ): Promise<StageState> {
    const { cache, layers, lease, epochNs } = this.#parts;
    const step = this.#parts.progress.begin(o.name, this.#stageName());
    this.#parts.noteStep(o.key);
    const known = this.#noCache ? undefined : (cache.find(o.key) ?? (await this.#parts.importStep(o.key)));
    if (known !== undefined) {
      if (known.diffId !== undefined) lease.keep(known.diffId);
      step.cached();
      return withLayer(state, {
        diffId: known.diffId,
        createdBy: o.createdBy,
        created: this.#time(known.createdAt),
      });
    }
    try {
      let made = false;
      const record = await cache.once(o.key, async () => {
        made = true;
        await using result = await o.make(step);
        const layer =
          result.directory === undefined
            ? undefined
            : await layers.adopt({
                directory: result.directory,
                lease,
                ...(epochNs === undefined ? {} : { latestMtimeNs: epochNs }),
              });
        return cache.put({
          key: o.key,
          description: o.name,
          ...(layer === undefined ? {} : { diffId: layer.diffId }),
        });
      });
      if (record.diffId !== undefined) lease.keep(record.diffId);
      if (made) step.done(record.diffId === undefined ? 0 : layers.size(record.diffId));
      else step.cached();
      return withLayer(state, {
        diffId: record.diffId,
        createdBy: o.createdBy,
        created: this.#time(record.createdAt),
      });
    } catch (error) {
      step.failed(messageOf(error));
      throw error;
    }
  }

  #time(made: string): string {
    const { epochNs } = this.#parts;
    return epochNs === undefined ? made : new Date(Number(epochNs / 1_000_000n)).toISOString();
  }

  #stageName(): string {
    return `${this.#stage.name ?? `stage-${this.#stage.index}`} ${this.#number}/${this.#total}`;
  }

  async #workdir(state: StageState, path: string): Promise<StageState> {
    if (path === '') throw invalid('WORKDIR needs a path');
    const absolute = posix.resolve(state.config.WorkingDir || '/', path);
    const next = { ...state, config: { ...state.config, WorkingDir: absolute } };
    const { layers, directory, epochNs } = this.#parts;
    return await this.#layer(next, {
      name: `WORKDIR ${absolute}`,
      createdBy: `WORKDIR ${path}`,
      key: cacheKey('workdir', filesKey(state), absolute, String(epochNs)),
      make: async () => {
        const root = directory.writable(state.diffIds);
        try {
          const empty = directory.path('data', 'empty');
          mkdirSync(empty, { mode: 0o755 });
          await layers.workers.run('copyTree', {
            selection: { root: empty, sources: ['/'], literal: true },
            root: root.root,
            destination: `${absolute}/`,
            owner: { uid: 0, gid: 0 },
            isDirectory: true,
          });
        } finally {
          root[Symbol.dispose]();
        }
        return writtenIn(root.upper);
      },
    });
  }

  // -- RUN

  async #runCommand(state: StageState, instruction: Instruction): Promise<StageState> {
    const { request } = this.#parts;
    const variables = this.#variables(state);
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
        const key = await this.#digest(
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
      throw invalid(`The command '${o.args.join(' ')}' ${why}`);
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
        const file = resolveInRoot(files.root(), mount.source ?? '/');
        if (file === undefined) throw invalid(`mount source ${mount.source ?? '/'} is not there`);
        if (mount.readOnly) return { mount: bind(file, target ?? '/', false) };
        return { mount: bind(directory.scratchOver(file, undo), target ?? '/', true) };
      }
      case 'cache': {
        const seed = files === undefined ? undefined : { root: files.root(), path: mount.source ?? '/' };
        const path = await cacheMounts.use(mount, target ?? '/', seed, undo);
        return { mount: bind(path, target ?? '/', !mount.readOnly) };
      }
      case 'secret': {
        const id = mount.id ?? posix.basename(mount.source ?? mount.target ?? '');
        const secret = request.secrets.get(id);
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
        const socket = request.ssh.get(id);
        if (socket === undefined) {
          if (mount.required) throw invalid(`ssh agent ${id} is not given: build with --ssh ${id}`);
          return undefined;
        }
        const place = target ?? `/run/buildkit/ssh_agent.${[...request.ssh.keys()].indexOf(id)}`;
        return { mount: bind(socket, place, true), also: `SSH_AUTH_SOCK=${place}` };
      }
    }
  }

  // -- COPY and ADD

  async #copy(state: StageState, instruction: Instruction): Promise<StageState> {
    const o = await this.#copyOptions(state, instruction);
    const from = o.flag('from');
    const files =
      from === undefined
        ? contextFiles(await this.#parts.context())
        : await this.#parts.source(from, instruction);
    const inline = this.#inlineFiles(instruction, o.sources, this.#variables(state));
    const plain = o.sources.filter((source) => !isHeredocSource(source));
    const selection: Omit<TreeSelection, 'root'> = {
      sources: plain,
      ignore: files.ignore,
      ...(o.excludes.length === 0 ? {} : { exclude: o.excludes }),
      ...(o.isSet('parents') ? { parents: true } : {}),
    };
    return await this.#copyLayer(state, instruction, {
      ...o,
      groups: plain.length === 0 ? [] : [{ files, selection }],
      inline,
      from,
    });
  }

  async #add(state: StageState, instruction: Instruction): Promise<StageState> {
    const o = await this.#copyOptions(state, instruction);
    const { directory, cache, signal } = this.#parts;
    const checksum = o.flag('checksum');
    const remote = o.sources.filter(isRemoteSource);
    if (checksum !== undefined && (remote.length !== 1 || o.sources.length !== 1))
      throw invalid("checksum can't be specified for other than one remote source");
    const added: AddedFiles[] = [];
    for (const source of remote)
      added.push(
        await fetchAddSource(source, {
          directory,
          cache,
          signal,
          epochNs: this.#parts.epochNs,
          keepGitDirectory: o.isSet('keep-git-dir'),
          unpack: o.flag('unpack') === 'true',
          ...(checksum === undefined ? {} : { checksum }),
        }),
      );
    const plain = o.sources.filter((source) => !isRemoteSource(source) && !isHeredocSource(source));
    const context = plain.length === 0 ? undefined : contextFiles(await this.#parts.context());
    const groups =
      context === undefined
        ? []
        : [
            {
              files: context,
              selection: {
                sources: plain,
                ignore: context.ignore,
                ...(o.excludes.length === 0 ? {} : { exclude: o.excludes }),
              },
            },
          ];
    return await this.#copyLayer(state, instruction, {
      ...o,
      groups,
      added,
      inline: this.#inlineFiles(instruction, o.sources, this.#variables(state)),
      unpacks: o.flag('unpack') !== 'false',
      from: undefined,
    });
  }

  async #copyOptions(state: StageState, instruction: Instruction): Promise<CopyOptions> {
    const variables = this.#variables(state);
    const expand = (text: string): string => expandAt(this.#parts.file, instruction, text, variables);
    const flag = (name: string): string | undefined => {
      const found = instruction.flags.findLast((each) => each.name === name);
      return found === undefined ? undefined : expand(found.value ?? 'true');
    };
    const all = (instruction.json ?? splitWords(instruction.rest, this.#parts.file.escapeToken)).map(
      (word) => (isHeredocSource(word) ? word : expand(word)),
    );
    const sources = all.slice(0, -1);
    const last = all.at(-1) ?? '';
    if (sources.length === 0)
      throw invalid(
        `${instruction.keyword} requires at least two arguments, but only one was provided. Destination could not be determined`,
      );
    const destination = last.startsWith('/')
      ? last
      : slashKept(posix.join(state.config.WorkingDir || '/', last), last);
    if (sources.length > 1 && !destination.endsWith('/') && flag('parents') !== 'true')
      throw invalid(
        `When using ${instruction.keyword} with more than one source file, the destination must be a directory and end with a /`,
      );
    const chmod = flag('chmod');
    fileModeChange(chmod);
    const excludes = instruction.flags
      .filter(({ name }) => name === 'exclude')
      .map(({ value }) => expand(value ?? ''));
    const owner = await this.#owner(state, flag('chown'), flag('link') === 'true');
    return {
      sources,
      destination,
      chmod,
      owner,
      excludes,
      flag,
      isSet: (name) => flag(name) !== undefined && flag(name) !== 'false',
    };
  }

  /** `--chown`: names are looked up in the stage's own files. */
  async #owner(
    state: StageState,
    chown: string | undefined,
    linked: boolean,
  ): Promise<{ uid: number; gid: number } | undefined> {
    if (chown === undefined) return undefined;
    const [user = '', group] = chown.split(':');
    const isNumeric = /^\d+$/.test(user) && (group === undefined || /^\d+$/.test(group));
    if (isNumeric) return { uid: Number(user), gid: Number(group ?? user) };
    const files =
      linked && state.diffIds.length === 0
        ? { passwd: '', group: '' }
        : readPasswd(this.#parts.directory.view(state.diffIds));
    const found = resolveUser({ user: chown, groupAdd: [], ...files });
    return {
      uid: found.uid,
      gid: group === undefined ? (/^\d+$/.test(user) ? found.uid : found.gid) : found.gid,
    };
  }

  #inlineFiles(
    instruction: Instruction,
    sources: readonly string[],
    variables: Variables,
  ): { name: string; content: string }[] {
    return sources.filter(isHeredocSource).map((source, index) => {
      const heredoc = instruction.heredocs[index];
      if (heredoc === undefined) throw invalid(`${source} has no text`);
      const content = heredoc.expands
        ? expandKeepingQuotes(heredoc.content, variables, this.#parts.file.escapeToken)
        : heredoc.content;
      return { name: heredoc.name, content };
    });
  }

  async #copyLayer(
    state: StageState,
    instruction: Instruction,
    o: CopyOptions & {
      groups: readonly { files: SourceFiles; selection: Omit<TreeSelection, 'root'> }[];
      inline: readonly { name: string; content: string }[];
      added?: readonly AddedFiles[];
      unpacks?: boolean;
      from: string | undefined;
    },
  ): Promise<StageState> {
    const isLinked = o.isSet('link');
    const digests = await Promise.all(
      o.groups.map(({ files, selection }) => this.#digest({ root: '', ...selection }, files)),
    );
    const key = cacheKey(
      instruction.keyword,
      // A linked layer does not depend on what it lies on.
      isLinked ? 'link' : filesKey(state),
      digests,
      o.inline,
      (o.added ?? []).map(({ key: each, name }) => [each, name]),
      o.destination,
      o.owner ?? null,
      o.chmod ?? '',
      o.sources.length > 1,
      o.isSet('parents'),
      o.unpacks ?? null,
      String(this.#parts.epochNs),
    );
    const flags = instruction.flags
      .map(({ name, value }) => ` --${name}${value === undefined ? '' : `=${value}`}`)
      .join('');
    const text = `${instruction.keyword}${flags} ${o.sources.join(' ')} ${o.destination}`;
    return await this.#layer(state, {
      name: text,
      createdBy: text,
      key,
      make: () => this.#copyFiles(isLinked ? [] : state.diffIds, o),
    });
  }

  async #copyFiles(
    diffIds: readonly string[],
    o: CopyOptions & {
      groups: readonly { files: SourceFiles; selection: Omit<TreeSelection, 'root'> }[];
      inline: readonly { name: string; content: string }[];
      added?: readonly AddedFiles[];
      unpacks?: boolean;
    },
  ): Promise<{ directory: string | undefined } & AsyncDisposable> {
    const { directory, layers, epochNs } = this.#parts;
    const isDirectory = o.sources.length > 1;
    const latest = epochNs === undefined ? {} : { latestMtimeNs: epochNs };
    const common = {
      destination: o.destination,
      isDirectory,
      ...(o.chmod === undefined ? {} : { mode: o.chmod }),
      ...latest,
    };
    const root = directory.writable(diffIds);
    try {
      for (const { files, selection } of o.groups) {
        const owner = o.owner ?? (files.keepsOwners ? undefined : { uid: 0, gid: 0 });
        const task = {
          ...common,
          selection: { root: files.root(), ...selection },
          root: root.root,
          owner,
          ...(o.owner === undefined ? {} : { archiveOwner: o.owner }),
        };
        await layers.workers.run(o.unpacks === true ? 'addTree' : 'copyTree', task);
      }
      for (const { name, content } of o.inline) {
        const source = directory.path('data', 'inline');
        mkdirSync(source);
        writeFileSync(join(source, name), content, { mode: 0o644 });
        await layers.workers.run('copyTree', {
          ...common,
          selection: { root: source, sources: [name], literal: true },
          root: root.root,
          owner: o.owner ?? { uid: 0, gid: 0 },
          latestMtimeNs: epochNs ?? 0n,
        });
      }
      for (const added of o.added ?? []) {
        const source = await added.files();
        await layers.workers.run(added.unpacks ? 'addTree' : 'copyTree', {
          ...common,
          selection: { root: source, sources: [added.isDirectory ? '/' : added.name], literal: true },
          root: root.root,
          owner: o.owner ?? { uid: 0, gid: 0 },
        });
      }
    } finally {
      root[Symbol.dispose]();
    }
    return writtenIn(root.upper);
  }

  /** What the selected files are; of files that never change it is remembered. */
  async #digest(selection: TreeSelection, files: SourceFiles): Promise<string> {
    const { layers, cache, cacheMounts } = this.#parts;
    const run = async (): Promise<string> => {
      const { digest } = await layers.workers.run('digestTree', {
        selection: { ...selection, root: files.root() },
        owners: files.keepsOwners,
        ...(files.isStable ? { known: cacheMounts.knownDigests } : {}),
      });
      return digest;
    };
    if (files.contentKey === undefined) return await run();
    const key = cacheKey('digest', files.contentKey, selection);
    const known = cache.find(key)?.value;
    if (known !== undefined) return known;
    const value = await run();
    cache.put({ key, value, description: `digest of ${selection.sources.join(' ')}` });
    return value;
  }
}

interface CopyOptions {
  sources: string[];
  destination: string;
  chmod: string | undefined;
  owner: { uid: number; gid: number } | undefined;
  excludes: string[];
  flag: (name: string) => string | undefined;
  isSet: (name: string) => boolean;
}

function contextFiles(context: BuildContext): SourceFiles {
  return {
    root: () => context.root,
    ignore: context.ignore,
    contentKey: undefined,
    keepsOwners: false,
    isStable: context.isStable,
  };
}

function writtenIn(upper: string): { directory: string | undefined } & AsyncDisposable {
  return {
    directory: readdirSync(upper).length === 0 ? undefined : upper,
    // It lies in the build's directory, which goes as a whole.
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function isHeredocSource(word: string): boolean {
  return /^<<-?["']?[A-Za-z_]/.test(word);
}

/** A trailing slash says something that path functions drop. */
function slashKept(path: string, written: string): string {
  return /(^|\/)\.?$/.test(written) && !path.endsWith('/') ? `${path}/` : path;
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=');
  return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
}

function shown(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([name, value]) => `${name}=${value}`).join(' ');
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
