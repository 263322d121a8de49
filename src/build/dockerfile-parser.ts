import { jsonList } from '#engine/images/image-settings.ts';
import { nearName } from '#model/near-name.ts';
import { DockerfileProblem, type SourcePlace } from './dockerfile-problem.ts';

/** A `<<NAME` of an instruction, with the lines that belong to it. */
export interface Heredoc {
  name: string;
  content: string;
  /** Variables in it are replaced: its name was not quoted. */
  expands: boolean;
  /** File descriptor that stands before it, as in a shell. */
  descriptor: string;
}

export interface InstructionFlag {
  name: string;
  /** Undefined where there is no `=`. */
  value: string | undefined;
}

/** One instruction of a Dockerfile, its lines joined, not looked into yet. */
export interface Instruction {
  /** In upper case. */
  keyword: string;
  flags: InstructionFlag[];
  /** What follows the flags. */
  rest: string;
  /** `rest` as a JSON list of strings, where it is one. */
  json: string[] | undefined;
  heredocs: Heredoc[];
  place: SourcePlace;
}

export interface ParsedDockerfile {
  file: string;
  lines: readonly string[];
  escapeToken: string;
  syntax: string | undefined;
  instructions: Instruction[];
  warnings: { message: string; place: SourcePlace }[];
}

const KEYWORDS = [
  'ADD',
  'ARG',
  'CMD',
  'COPY',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'FROM',
  'HEALTHCHECK',
  'LABEL',
  'MAINTAINER',
  'ONBUILD',
  'RUN',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
] as const;

const WITH_HEREDOCS = ['RUN', 'COPY', 'ADD'];
/** Frontends that mean the language that is read here. */
const OWN_SYNTAX = /^(docker\.io\/)?docker\/dockerfile(-upstream)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$/;
const LARGEST = 4 * 1024 * 1024;

/** Splits a Dockerfile into its instructions. `file` is what errors call it. */
export function parseDockerfile(text: string, file: string): ParsedDockerfile {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const parser = new Parser(lines, file);
  if (text.length > LARGEST) throw parser.problem('the Dockerfile is larger than 4 MiB', 1);
  return parser.parse();
}

class Parser {
  readonly #lines: readonly string[];
  readonly #file: string;
  readonly #warnings: ParsedDockerfile['warnings'] = [];
  #at = 0;
  #escape = '\\';
  #syntax: string | undefined;

  constructor(lines: readonly string[], file: string) {
    this.#lines = lines;
    this.#file = file;
  }

  problem(message: string, line: number, column = 1, endLine = line): DockerfileProblem {
    return new DockerfileProblem(message, {
      file: this.#file,
      lines: this.#lines,
      place: { line, column, endLine },
    });
  }

  parse(): ParsedDockerfile {
    this.#directives();
    const instructions: Instruction[] = [];
    while (this.#at < this.#lines.length) {
      const line = this.#lines[this.#at] ?? '';
      if (isBlankOrComment(line)) this.#at += 1;
      else instructions.push(this.#instruction());
    }
    if (instructions.length === 0) throw this.problem('the Dockerfile is empty: it needs a FROM', 1);
    return {
      file: this.#file,
      lines: this.#lines,
      escapeToken: this.#escape,
      syntax: this.#syntax,
      instructions,
      warnings: this.#warnings,
    };
  }

  /** Parser directives stand before everything else. */
  #directives(): void {
    const seen = new Set<string>();
    for (; this.#at < this.#lines.length; this.#at++) {
      const match = /^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$/.exec(this.#lines[this.#at] ?? '');
      const name = match?.[1]?.toLowerCase() ?? '';
      const value = match?.[2] ?? '';
      const line = this.#at + 1;
      if (!['syntax', 'escape', 'check'].includes(name)) return;
      if (seen.has(name)) throw this.problem(`only one ${name} parser directive can be used`, line);
      seen.add(name);
      if (name === 'escape') {
        if (value !== '\\' && value !== '`')
          throw this.problem(`invalid escape token '${value}' does not match \\ or \``, line);
        this.#escape = value;
      } else if (name === 'syntax') {
        if (!OWN_SYNTAX.test(value))
          throw this.problem(
            `frontend ${value} cannot be run: this builder reads docker/dockerfile's language itself`,
            line,
          );
        this.#syntax = value;
      }
    }
  }

  #instruction(): Instruction {
    const first = this.#at;
    const text = this.#logicalLine();
    const line = first + 1;
    const indent = /^\s*/.exec(this.#lines[first] ?? '')?.[0].length ?? 0;
    const match = /^\s*(\S+)(?:\s+([\s\S]*))?$/.exec(text);
    const keyword = (match?.[1] ?? '').toUpperCase();
    if (!KEYWORDS.some((known) => known === keyword))
      throw this.problem(`unknown instruction: ${match?.[1] ?? ''}${suggestion(keyword)}`, line, indent + 1);
    const { flags, rest } = this.#flags(match?.[2] ?? '', keyword, line, indent);
    const heredocs = this.#heredocs(keyword, rest);
    const place = { line, column: indent + 1, endLine: this.#at };
    if (rest.trim() === '' && keyword !== 'CMD' && keyword !== 'ENTRYPOINT')
      throw this.problem(`${keyword} requires at least one argument`, line, indent + 1, this.#at);
    return { keyword, flags, rest: rest.trim(), json: jsonList(rest), heredocs, place };
  }

  /** The line with those that continue it; comments and blank lines between them are left out. */
  #logicalLine(): string {
    const continued = new RegExp(`^(.*)\\${this.#escape}[ \\t]*$`, 's');
    let text = '';
    for (let isFirst = true; this.#at < this.#lines.length; isFirst = false) {
      const line = this.#lines[this.#at] ?? '';
      this.#at += 1;
      if (!isFirst && isBlankOrComment(line)) {
        if (line.trim() === '')
          this.#warnings.push({
            message: 'empty continuation line',
            place: { line: this.#at, column: 1, endLine: this.#at },
          });
        continue;
      }
      const match = continued.exec(line);
      if (match === null) return text + line;
      text += match[1] ?? '';
    }
    return text;
  }

  #flags(
    text: string,
    keyword: string,
    line: number,
    indent: number,
  ): { flags: InstructionFlag[]; rest: string } {
    const flags: InstructionFlag[] = [];
    let rest = text;
    for (;;) {
      const match = /^\s*--([^\s=]*)(=?)/.exec(rest);
      if (match === null) return { flags, rest };
      const [head, name = '', equals] = match;
      if (name === '' && equals === '') return { flags, rest: rest.slice(head.length) };
      rest = rest.slice(head.length);
      if (equals === '') {
        flags.push({ name, value: undefined });
        continue;
      }
      const value = this.#flagValue(rest);
      if (value === undefined)
        throw this.problem(`--${name} of ${keyword} has a quote that is not closed`, line, indent + 1);
      flags.push({ name, value: value.text });
      rest = rest.slice(value.length);
    }
  }

  /** Up to the next blank outside of quotes; quotes and escapes are taken away. */
  #flagValue(text: string): { text: string; length: number } | undefined {
    let quote = '';
    let value = '';
    let at = 0;
    for (; at < text.length; at++) {
      const character = text.charAt(at);
      if (quote === '' && /\s/.test(character)) break;
      if (character === quote) quote = '';
      else if (quote === '' && (character === '"' || character === "'")) quote = character;
      else if (character === this.#escape && quote !== "'" && at + 1 < text.length) {
        at += 1;
        value += text.charAt(at);
      } else value += character;
    }
    return quote === '' ? { text: value, length: at } : undefined;
  }

  /** The bodies that follow the line, in the order of their names in it. */
  #heredocs(keyword: string, rest: string): Heredoc[] {
    const inner = /^\s*(RUN|COPY|ADD)\s+(.*)$/is.exec(rest);
    const text = keyword === 'ONBUILD' ? (inner?.[2] ?? '') : rest;
    if (!WITH_HEREDOCS.includes(keyword) && (keyword !== 'ONBUILD' || inner === null)) return [];
    if (text.trim().startsWith('[')) return [];
    return heredocNames(text).map(({ name, stripsTabs, expands, descriptor }) => {
      const begun = this.#at;
      const lines: string[] = [];
      for (; this.#at < this.#lines.length; this.#at++) {
        const line = this.#lines[this.#at] ?? '';
        const bare = stripsTabs ? line.replace(/^\t+/, '') : line;
        if (bare === name) {
          this.#at += 1;
          return { name, expands, descriptor, content: lines.map((each) => `${each}\n`).join('') };
        }
        lines.push(bare);
      }
      throw this.problem(`unterminated heredoc: ${name} does not end`, begun, 1, begun);
    });
  }
}

/** The heredocs that a line of a shell begins; those inside of quotes are none. */
export function heredocNames(
  text: string,
): { name: string; stripsTabs: boolean; expands: boolean; descriptor: string }[] {
  const found: { name: string; stripsTabs: boolean; expands: boolean; descriptor: string }[] = [];
  const word =
    /'[^']*'|"(?:[^"\\]|\\.)*"|\\.|(?<![\w<])(\d*)<<(-?)(?:'([^'\n]+)'|"([^"\n]+)"|([A-Za-z_][\w.-]*))(?!<)/g;
  for (const match of text.matchAll(word)) {
    const name = match[3] ?? match[4] ?? match[5];
    if (name === undefined) continue;
    found.push({
      name,
      stripsTabs: match[2] === '-',
      expands: match[5] !== undefined,
      descriptor: match[1] ?? '',
    });
  }
  return found;
}

function isBlankOrComment(line: string): boolean {
  return /^\s*(#|$)/.test(line);
}

/** ` (did you mean RUN?)` where a known keyword is one or two letters away. */
function suggestion(keyword: string): string {
  const near = nearName(keyword, KEYWORDS);
  return near === undefined ? '' : ` (did you mean ${near}?)`;
}
