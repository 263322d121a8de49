import { mkdirSync } from 'node:fs';
import { posix } from 'node:path';
import {
  commandOf,
  healthcheckOf,
  type ImageConfig,
  withEnv,
  withPorts,
  withStopSignal,
  withVolumes,
} from '#engine/images/image-settings.ts';
import { DroverError, invalid, messageOf } from '#model/errors.ts';
import { cacheKey } from './build-cache.ts';
import {
  argPairs,
  type BuildStage,
  expandAt,
  expandWordsAt,
  problemsOf,
  splitWords,
} from './build-stages.ts';
import { CopySteps } from './copy-step.ts';
import { type Instruction, parseDockerfile } from './dockerfile-parser.ts';
import { DockerfileProblem } from './dockerfile-problem.ts';
import { RunSteps } from './run-step.ts';
import { type LayerStep, type MakeLayer, type StageParts, variablesOf, writtenIn } from './stage-parts.ts';
import { filesKey, type StageState, withConfig, withLayer } from './stage-state.ts';

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
  readonly #runs: RunSteps;
  readonly #copies: CopySteps;
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
    const layer: MakeLayer = (state, o) => this.#layer(state, o);
    this.#runs = new RunSteps(parts, layer);
    this.#copies = new CopySteps(parts, layer);
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
    const variables = variablesOf(state);
    const expand = (text: string): string => expandAt(this.#parts.file, instruction, text, variables);
    const words = (text: string): string[] => expandWordsAt(this.#parts.file, instruction, text, variables);
    const changed = (next: ImageConfig, text = rest): StageState =>
      withConfig(state, next, `${instruction.keyword} ${text}`);
    switch (instruction.keyword) {
      case 'RUN':
        return await this.#runs.run(state, instruction);
      case 'COPY':
        return await this.#copies.copy(state, instruction);
      case 'ADD':
        return await this.#copies.add(state, instruction);
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
        return changed({ ...config, Healthcheck: healthcheckOf(instruction.flags, rest) });
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

  #declareArgs(state: StageState, instruction: Instruction): StageState {
    const { globalArgs, platformArgs, request } = this.#parts;
    const args = new Map(state.args);
    for (const { name, value } of argPairs(this.#parts.file, instruction, variablesOf({ ...state, args }))) {
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
  async #layer(state: StageState, o: LayerStep): Promise<StageState> {
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
}

function shown(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([name, value]) => `${name}=${value}`).join(' ');
}
