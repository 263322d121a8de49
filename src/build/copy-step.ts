import { mkdirSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileModeChange } from '#engine/layers/file-mode.ts';
import type { TreeSelection } from '#engine/layers/tree-selection.ts';
import { readUserFiles, resolveUser } from '#engine/runtime/user-lookup.ts';
import { invalid } from '#model/errors.ts';
import { type AddedFiles, fetchAddSource, isRemoteSource } from './add-sources.ts';
import { cacheKey } from './build-cache.ts';
import { expandAt, splitWords } from './build-stages.ts';
import type { Instruction } from './dockerfile-parser.ts';
import {
  contextFiles,
  digestOfFiles,
  type MakeLayer,
  type SourceFiles,
  type StageParts,
  variablesOf,
  writtenIn,
} from './stage-parts.ts';
import { filesKey, type StageState } from './stage-state.ts';
import { expandKeepingQuotes, type Variables } from './variable-expansion.ts';

/** Carries out COPY and ADD: finds out what is copied, and copies it where nothing has been made of that before. */
export class CopySteps {
  readonly #parts: StageParts;
  readonly #layer: MakeLayer;

  constructor(parts: StageParts, layer: MakeLayer) {
    this.#parts = parts;
    this.#layer = layer;
  }

  async copy(state: StageState, instruction: Instruction): Promise<StageState> {
    const o = await this.#copyOptions(state, instruction);
    const from = o.flag('from');
    const files =
      from === undefined
        ? contextFiles(await this.#parts.context())
        : await this.#parts.source(from, instruction);
    const inline = this.#inlineFiles(instruction, o.sources, variablesOf(state));
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

  async add(state: StageState, instruction: Instruction): Promise<StageState> {
    const o = await this.#copyOptions(state, instruction);
    const { directory, signal } = this.#parts;
    const checksum = o.flag('checksum');
    const remote = o.sources.filter(isRemoteSource);
    if (checksum !== undefined && (remote.length !== 1 || o.sources.length !== 1))
      throw invalid("checksum can't be specified for other than one remote source");
    const added: AddedFiles[] = [];
    for (const source of remote)
      added.push(
        await fetchAddSource(source, {
          directory,
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
      inline: this.#inlineFiles(instruction, o.sources, variablesOf(state)),
      unpacks: o.flag('unpack') !== 'false',
      from: undefined,
    });
  }

  async #copyOptions(state: StageState, instruction: Instruction): Promise<CopyOptions> {
    const variables = variablesOf(state);
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
        : readUserFiles(this.#parts.directory.view(state.diffIds));
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
      o.groups.map(({ files, selection }) => digestOfFiles(this.#parts, { root: '', ...selection }, files)),
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
          selection: { root: await files.root(), ...selection },
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

function isHeredocSource(word: string): boolean {
  return /^<<-?["']?[A-Za-z_]/.test(word);
}

/** A trailing slash says something that path functions drop. */
function slashKept(path: string, written: string): string {
  return /(^|\/)\.?$/.test(written) && !path.endsWith('/') ? `${path}/` : path;
}
