import { invalid, messageOf } from '#model/errors.ts';
import type { Instruction, ParsedDockerfile } from './dockerfile-parser.ts';
import { DockerfileProblem } from './dockerfile-problem.ts';
import { parseMounts } from './run-mounts.ts';
import { expandWord, expandWords, type Variables } from './variable-expansion.ts';

/** One FROM and what follows it. */
export interface BuildStage {
  index: number;
  /** As AS names it, in lower case; undefined without one. */
  name: string | undefined;
  /** As FROM has it, variables replaced. */
  base: string;
  /** The stage that `base` means; undefined for an image or scratch. */
  baseStage: number | undefined;
  platform: string | undefined;
  from: Instruction;
  instructions: Instruction[];
  /** Indexes of the stages that it takes something of. */
  needs: Set<number>;
}

export interface StagePlan {
  stages: BuildStage[];
  target: BuildStage;
  /** Indexes of the stages that the target needs, itself among them, in their order. */
  wanted: number[];
  /** ARGs before the first FROM, with their values. */
  globalArgs: Map<string, string | undefined>;
}

export interface PlanOptions {
  buildArgs: Readonly<Record<string, string>>;
  /** Name or number of the last stage to build; the last of all without it. */
  target: string | undefined;
  /** TARGETPLATFORM and the like. */
  platformArgs: Readonly<Record<string, string>>;
  /** Named contexts, which stand in for images and stages of the same name. */
  contexts: readonly string[];
}

/** Splits a Dockerfile into stages, and finds out which of them the target needs. Pure. */
export function planStages(file: ParsedDockerfile, options: PlanOptions): StagePlan {
  const at = problemsOf(file);
  const globalArgs = new Map<string, string | undefined>();
  const variables: Variables = (name) => globalArgs.get(name) ?? options.platformArgs[name];
  const stages: BuildStage[] = [];
  for (const instruction of file.instructions) {
    if (instruction.keyword === 'FROM') stages.push(stageOf(file, instruction, stages, variables));
    else if (stages.length > 0) stages.at(-1)?.instructions.push(instruction);
    else if (instruction.keyword === 'ARG') declareArgs(file, instruction, globalArgs, options);
    else
      throw at(
        instruction,
        `no build stage in current context: ${instruction.keyword} stands before the first FROM`,
      );
  }
  if (stages.length === 0)
    throw new DockerfileProblem('the Dockerfile has no FROM', {
      file: file.file,
      lines: file.lines,
      place: { line: 1, column: 1, endLine: 1 },
    });
  for (const stage of stages) {
    if (stage.baseStage !== undefined) stage.needs.add(stage.baseStage);
    for (const { instruction, source } of sourcesOf(file, stage, variables)) {
      if (options.contexts.includes(source)) continue;
      const found = findStage(stages, source);
      if (found === undefined) continue;
      if (found.index >= stage.index)
        throw at(
          instruction,
          `circular dependency: stage ${source} comes at or after the stage that takes from it`,
        );
      stage.needs.add(found.index);
    }
  }
  const target = findTarget(stages, options.target);
  return { stages, target, wanted: closure(stages, target.index), globalArgs };
}

/** Makes errors that point at an instruction. */
export function problemsOf(
  file: Pick<ParsedDockerfile, 'file' | 'lines'>,
): (instruction: Pick<Instruction, 'place'>, message: string, cause?: unknown) => DockerfileProblem {
  return (instruction, message, cause) =>
    new DockerfileProblem(message, {
      file: file.file,
      lines: file.lines,
      place: instruction.place,
      ...(cause === undefined ? {} : { cause }),
    });
}

function stageOf(
  file: ParsedDockerfile,
  from: Instruction,
  before: readonly BuildStage[],
  variables: Variables,
): BuildStage {
  const at = problemsOf(file);
  const expand = (text: string): string => expandAt(file, from, text, variables);
  const platform = from.flags.find(({ name }) => name === 'platform');
  const unknown = from.flags.find(({ name }) => name !== 'platform');
  if (unknown !== undefined) throw at(from, `unknown flag: --${unknown.name} of FROM`);
  const words = from.rest.split(/\s+/);
  if (words.length !== 1 && !(words.length === 3 && words[1]?.toLowerCase() === 'as'))
    throw at(from, 'FROM requires either one or three arguments: FROM image [AS name]');
  const base = expand(words[0] ?? '');
  if (base === '')
    throw at(from, `base name (${words[0]}) should not be blank: is an ARG before FROM missing its value?`);
  const name = words[2]?.toLowerCase();
  if (name !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(name))
    throw at(
      from,
      `invalid name for build stage: "${words[2]}", name can't start with a number or contain symbols`,
    );
  if (before.some((stage) => stage.name !== undefined && stage.name === name))
    throw at(from, `there are two build stages with the name ${name}`);
  return {
    index: before.length,
    name,
    base,
    baseStage: before.find((stage) => stage.name === base.toLowerCase())?.index,
    platform: platform?.value === undefined ? undefined : expand(platform.value),
    from,
    instructions: [],
    needs: new Set(),
  };
}

/** Expands, and points at the instruction where that fails. */
export function expandAt(
  file: ParsedDockerfile,
  instruction: Instruction,
  text: string,
  variables: Variables,
): string {
  return pointingAt(file, instruction, text, () =>
    expandWord(text, { variables, escapeToken: file.escapeToken }),
  );
}

/** The same as words. */
export function expandWordsAt(
  file: ParsedDockerfile,
  instruction: Instruction,
  text: string,
  variables: Variables,
): string[] {
  return pointingAt(file, instruction, text, () =>
    expandWords(text, { variables, escapeToken: file.escapeToken }),
  );
}

function pointingAt<T>(file: ParsedDockerfile, instruction: Instruction, text: string, expand: () => T): T {
  try {
    return expand();
  } catch (error) {
    const message = `failed to process ${JSON.stringify(text)}: ${messageOf(error)}`;
    throw problemsOf(file)(instruction, message, error);
  }
}

/** ARG before the first FROM: in scope of FROM lines only, and of stages that declare it again. */
function declareArgs(
  file: ParsedDockerfile,
  instruction: Instruction,
  globalArgs: Map<string, string | undefined>,
  options: PlanOptions,
): void {
  const variables: Variables = (name) => globalArgs.get(name) ?? options.platformArgs[name];
  for (const { name, value } of argPairs(file, instruction, variables))
    globalArgs.set(name, options.buildArgs[name] ?? value ?? options.platformArgs[name]);
}

/** `NAME`, `NAME=value`, several of them. */
export function argPairs(
  file: ParsedDockerfile,
  instruction: Instruction,
  variables: Variables,
): { name: string; value: string | undefined }[] {
  let words: string[];
  try {
    words = splitWords(instruction.rest, file.escapeToken);
  } catch (error) {
    throw problemsOf(file)(instruction, messageOf(error), error);
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name))
      throw problemsOf(file)(
        instruction,
        `ARG names can not be ${name === '' ? 'blank' : JSON.stringify(name)}`,
      );
    return {
      name,
      value: equals < 0 ? undefined : expandAt(file, instruction, word.slice(equals + 1), variables),
    };
  });
}

/** Words as they are written: quotes keep blanks together and stay. */
export function splitWords(text: string, escapeToken: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  let isWord = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (quote === '' && /\s/.test(character)) {
      if (isWord) words.push(word);
      word = '';
      isWord = false;
      continue;
    }
    isWord = true;
    word += character;
    if (character === escapeToken && quote !== "'" && at + 1 < text.length) {
      at += 1;
      word += text.charAt(at);
    } else if (character === quote) quote = '';
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
  }
  if (quote !== '') throw invalid(`a ${quote} is not closed`);
  if (isWord) words.push(word);
  return words;
}

/** The stages and images that COPY --from and RUN --mount from= name. */
function* sourcesOf(
  file: ParsedDockerfile,
  stage: BuildStage,
  variables: Variables,
): Generator<{ instruction: Instruction; source: string }> {
  for (const instruction of stage.instructions) {
    for (const { name, value } of instruction.flags) {
      if (name === 'from' && value !== undefined)
        yield { instruction, source: expandAt(file, instruction, value, variables) };
      if (name !== 'mount' || instruction.keyword !== 'RUN') continue;
      for (const { from } of parseMounts(file, instruction))
        if (from !== undefined) yield { instruction, source: expandAt(file, instruction, from, variables) };
    }
  }
}

/** By name, in any case, or by number. */
export function findStage(stages: readonly BuildStage[], name: string): BuildStage | undefined {
  return (
    stages.find((stage) => stage.name === name.toLowerCase()) ??
    (/^\d+$/.test(name) ? stages[Number(name)] : undefined)
  );
}

function findTarget(stages: readonly BuildStage[], target: string | undefined): BuildStage {
  const last = stages.at(-1);
  if (last === undefined) throw invalid('the Dockerfile has no FROM');
  if (target === undefined || target === '') return last;
  const found = findStage(stages, target);
  if (found !== undefined) return found;
  const names = stages.flatMap(({ name }) => (name === undefined ? [] : [name]));
  throw invalid(`target stage ${JSON.stringify(target)} could not be found`, {
    hint: names.length === 0 ? 'No stage has a name.' : `There are: ${names.join(', ')}`,
  });
}

function closure(stages: readonly BuildStage[], index: number): number[] {
  const wanted = new Set<number>();
  const visit = (at: number): void => {
    if (wanted.has(at)) return;
    wanted.add(at);
    for (const need of stages[at]?.needs ?? []) visit(need);
  };
  visit(index);
  return [...wanted].sort((a, b) => a - b);
}
