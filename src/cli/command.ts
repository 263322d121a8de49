import { type DroverError, invalid } from '#model/errors.ts';
import { nearName } from '#model/near-name.ts';
import type { HelpPage } from './command-help.ts';

/** `<name>` is a text, `[name]` one or none, and with dots all that follow. */
type Operand<Part extends string> = Part extends `${string}...${string}`
  ? string[]
  : Part extends `<${string}`
    ? string
    : string | undefined;
type Operands<Line extends string> = Line extends `${infer First} ${infer Rest}`
  ? [Operand<First>, ...Operands<Rest>]
  : [Operand<Line>];
/** What an action is given for a usage line such as `rollback <stack> [release]`. */
type OperandsOf<Usage extends string> = Usage extends `${string} ${infer Line}` ? Operands<Line> : [];

type Camel<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name;
type LongName<Written extends string> = Written extends `${string}--${infer Name} <${string}`
  ? Name
  : Written extends `${string}--${infer Name}`
    ? Name
    : never;
type Key<Written extends string> = Camel<LongName<Written>>;
/** What an option that was declared without a value of its own comes to: `--no-x` is `x`, which is true without it. */
type Flag<Written extends string> = Written extends `${string}<${string}...>`
  ? { [K in Key<Written>]?: string[] }
  : Written extends `${string}<${string}`
    ? { [K in Key<Written>]?: string }
    : LongName<Written> extends `no-${infer Name}`
      ? { [K in Camel<Name>]: boolean }
      : { [K in Key<Written>]: boolean };

type OptionKind = 'switch' | 'negation' | 'text' | 'texts' | 'list' | 'number';

interface Declaration {
  /** `-f, --file <file>` */
  written: string;
  description: string;
  /** Where it does not follow from the way it is written. */
  kind?: OptionKind;
  /** Where it is not given. */
  standard?: string | number | undefined;
}

/** An option as it was declared. */
export interface DeclaredOption extends Required<Declaration> {
  /** Without its dashes, as it is typed. */
  long: string;
  short: string | undefined;
  /** Its property among the flags. */
  key: string;
}

/** What a group knows of what is in it. */
interface Subcommand {
  readonly name: string;
  summary(): { usage: string; description: string };
  run(args: readonly string[]): Promise<boolean>;
}

type FlagValue = boolean | string | number | string[];

const HELP = declared({ written: '-h, --help', description: 'show this page' });
const VERSION = declared({ written: '-v, --version', description: 'show the version' });

interface Line {
  wantsHelp: boolean;
  wantsVersion: boolean;
  operands: string[];
  /** A command's own arguments begin after its name. */
  next: { name: string; args: readonly string[] } | undefined;
}

/**
 * A command of the command line, or a group of them. Options are typed by the way they are written: `-t, --tag <name>` is a text, `--push`
 * is true or false, `--no-cache` is `cache`, and `--from <nodes...>` takes all that follow it. Reading is node's `parseArgs`.
 */
export class Command<Given extends unknown[] = [], Flags extends object = object> {
  /** As it is called: `drover image tree`. */
  readonly path: string;
  /** Its last word. */
  readonly name: string;
  readonly #operands: readonly string[];
  readonly #options: Declaration[] = [];
  readonly #commands: Subcommand[] = [];
  readonly #later: { names: readonly string[]; add: () => Promise<void> }[] = [];
  readonly #texts: string[] = [];
  #flags: Record<string, FlagValue> = {};
  #description = '';
  #version: string | undefined;
  #passesThrough = false;
  #action: ((...given: [...Given, Flags]) => void | Promise<void>) | undefined;

  /** The root, or by `command` one below it. */
  constructor(usage: string, parent?: string) {
    const [name = '', ...operands] = usage.split(' ');
    this.name = name;
    this.path = parent === undefined ? name : `${parent} ${name}`;
    this.#operands = operands;
  }

  /** One below this, by its usage line: `build <path>`, `logs [services...]`. */
  command<Usage extends string>(usage: Usage): Command<OperandsOf<Usage>> {
    const command = new Command<OperandsOf<Usage>>(usage, this.path);
    this.#commands.push(command);
    return command;
  }

  /** Commands below this that `add` adds: when one of them is named, or when all are listed. */
  later(names: readonly string[], add: () => Promise<void>): this {
    this.#later.push({ names, add });
    return this;
  }

  description(text: string): this {
    this.#description = text;
    return this;
  }

  /** Text below the options: what there is to know, and examples. */
  addHelpText(text: string): this {
    this.#texts.push(text);
    return this;
  }

  /** `-v` and `--version` print it. */
  version(text: string): this {
    this.#version = text;
    return this;
  }

  /** From the first operand on everything is an operand, a -- too: for commands that run others. */
  passThrough(): this {
    this.#passesThrough = true;
    return this;
  }

  /** A switch, or an option with a value; `standard` is its value where it is not given. */
  option<Written extends string>(
    written: Written,
    description: string,
  ): Command<Given, Flags & Flag<Written>>;
  option<Written extends string>(
    written: Written,
    description: string,
    standard: string,
  ): Command<Given, Flags & { [K in Key<Written>]: string }>;
  option(written: string, description: string, standard?: string): unknown {
    return this.#with({ written, description, standard });
  }

  /** An option that may be given several times. */
  list<Written extends string>(
    written: Written,
    description: string,
  ): Command<Given, Flags & { [K in Key<Written>]: string[] }> {
    return this.#with({ written, description, kind: 'list' });
  }

  /** An option whose value is a number, of 0 or more. */
  number<Written extends string>(
    written: Written,
    description: string,
  ): Command<Given, Flags & { [K in Key<Written>]?: number }>;
  number<Written extends string>(
    written: Written,
    description: string,
    standard: number,
  ): Command<Given, Flags & { [K in Key<Written>]: number }>;
  number(written: string, description: string, standard?: number): unknown {
    return this.#with({ written, description, kind: 'number', standard });
  }

  /** What the command does, with its operands and then its flags. */
  action(run: (...given: [...Given, Flags]) => void | Promise<void>): void {
    this.#action = run;
  }

  /** The flags of this command; of a group, once the command line has been read. */
  flags(): Flags {
    // The types follow the declarations, as what was read does.
    return { ...this.#flags } as Flags;
  }

  /**
   * Does what the arguments say; they begin after the command's own name. Rejects with `invalid` where they say nothing that there is, and with
   * what the action rejects with. Resolves with false where there is only help to show for a group that was named alone.
   */
  async run(args: readonly string[]): Promise<boolean> {
    const line = this.#read(args);
    if (line.wantsVersion) {
      console.log(this.#version);
      return true;
    }
    if (line.wantsHelp) {
      process.stdout.write(await this.help());
      return true;
    }
    if (this.#isGroup()) {
      if (line.next !== undefined) return await this.#runNext(line.next);
      process.stderr.write(await this.help());
      return false;
    }
    // By the usage line and the options, which are where the types come from.
    const given = [...this.#arrange(line.operands), this.flags()] as unknown as [...Given, Flags];
    await this.#action?.(...given);
    return true;
  }

  /** Its line on the page of the group that it is in. */
  summary(): { usage: string; description: string } {
    return { usage: [this.name, ...this.#operands].join(' '), description: this.#description };
  }

  /** The page that `--help` shows. */
  async help(): Promise<string> {
    const { formatHelp } = await import('./command-help.ts');
    for (const { add } of this.#later.splice(0)) await add();
    return formatHelp(this.#page(), process.stdout.columns ?? 80);
  }

  #page(): HelpPage {
    return {
      usage: [this.path, '[options]', ...(this.#isGroup() ? ['[command]'] : this.#operands)].join(' '),
      description: this.#description,
      options: [...this.#options.map(declared), ...this.#offered()],
      commands: this.#commands.map((each) => each.summary()),
      texts: this.#texts,
    };
  }

  async #runNext({ name, args }: { name: string; args: readonly string[] }): Promise<boolean> {
    // `drover help build` is `drover build --help`.
    if (name === 'help') return await this.run([...args, '--help']);
    const at = this.#later.findIndex(({ names }) => names.includes(name));
    for (const { add } of at < 0 ? [] : this.#later.splice(at, 1)) await add();
    const next = this.#commands.find((each) => each.name === name);
    if (next !== undefined) return await next.run(args);
    const known = [...this.#commands.map((each) => each.name), ...this.#later.flatMap(({ names }) => names)];
    throw this.#refused(`unknown command: ${name}`, nearName(name, known));
  }

  #isGroup(): boolean {
    return this.#commands.length + this.#later.length > 0;
  }

  #with<Added extends object>(option: Declaration): Command<Given, Flags & Added> {
    this.#options.push(option);
    // It is the same command, whose type has grown by the option.
    return this as unknown as Command<Given, Flags & Added>;
  }

  /** What each command has without declaring it. */
  #offered(): DeclaredOption[] {
    return this.#version === undefined ? [HELP] : [VERSION, HELP];
  }

  #read(args: readonly string[]): Line {
    // An import would load all that the module can do: a millisecond of each command.
    const { parseArgs } = process.getBuiltinModule('node:util');
    const own = this.#options.map(declared);
    this.#flags = standardsOf(own);
    const options = [...own, ...this.#offered()];
    const { tokens } = parseArgs({
      args: [...args],
      options: Object.fromEntries(
        options.map(({ long, short, kind }) => [
          long,
          { type: takesValue(kind) ? 'string' : 'boolean', ...(short === undefined ? {} : { short }) },
        ]),
      ),
      strict: false,
      allowPositionals: true,
      tokens: true,
    });
    const line: Line = { wantsHelp: false, wantsVersion: false, operands: [], next: undefined };
    let open: DeclaredOption | undefined;
    for (const token of tokens) {
      if (token.kind === 'option-terminator') {
        line.operands.push(...args.slice(token.index + 1));
        break;
      }
      if (token.kind === 'option') {
        const option = options.find(({ long }) => long === token.name);
        if (option === undefined) throw this.#unknownOption(token.rawName, options);
        if (option === HELP) return { ...line, wantsHelp: true };
        if (option === VERSION) return { ...line, wantsVersion: true };
        this.#set(option, token.value);
        open = option.kind === 'texts' ? option : undefined;
      } else if (open !== undefined) this.#set(open, token.value);
      else if (this.#isGroup()) {
        line.next = { name: token.value, args: args.slice(token.index + 1) };
        break;
      } else if (this.#passesThrough) {
        line.operands.push(...args.slice(token.index));
        break;
      } else line.operands.push(token.value);
    }
    return line;
  }

  #set({ key, kind, written }: DeclaredOption, text: string | undefined): void {
    if (!takesValue(kind)) {
      if (text !== undefined && text !== 'true' && text !== 'false')
        throw this.#refused(`option ${written} is true or false, not ${text}`);
      this.#flags[key] = (text !== 'false') !== (kind === 'negation');
      return;
    }
    if (text === undefined) throw this.#refused(`option ${written} needs a value`);
    const before = this.#flags[key];
    if (kind === 'text') this.#flags[key] = text;
    else if (kind !== 'number') this.#flags[key] = Array.isArray(before) ? [...before, text] : [text];
    else if (/^\d+(\.\d+)?$/.test(text)) this.#flags[key] = Number(text);
    else throw this.#refused(`option ${written}: ${text} is no number`);
  }

  /** The operands by their places in the usage line. */
  #arrange(given: readonly string[]): (string | string[] | undefined)[] {
    const rest = [...given];
    const arranged = this.#operands.map((operand) => {
      if (operand.startsWith('<') && rest.length === 0) throw this.#refused(`${operand} is missing`);
      return operand.includes('...') ? rest.splice(0) : rest.shift();
    });
    if (rest.length > 0) throw this.#refused(`too many arguments: ${rest.join(' ')}`);
    return arranged;
  }

  #unknownOption(raw: string, options: readonly DeclaredOption[]): DroverError {
    const near = nearName(
      raw,
      options.map(({ long }) => `--${long}`),
    );
    return this.#refused(`unknown option: ${raw}`, near);
  }

  #refused(message: string, near?: string): DroverError {
    const meant = near === undefined ? '' : ` (did you mean ${near}?)`;
    return invalid(`${message}${meant}`, { hint: `See '${this.path} --help'.` });
  }
}

/** What commands are added to. */
export type CommandGroup = Pick<Command, 'command'>;

function declared({ written, description, kind, standard }: Declaration): DeclaredOption {
  const match = /^(?:-(\w), )?--([\w-]+)(?: <(.+)>)?$/.exec(written);
  const [, short, long = '', value] = match ?? [];
  const isNegation = value === undefined && long.startsWith('no-');
  return {
    ...{ written, description, long, short, standard },
    key: (isNegation ? long.slice(3) : long).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()),
    kind: kind ?? (value === undefined ? (isNegation ? 'negation' : 'switch') : kindOfValue(value)),
  };
}

/** What flags are where none is given. */
function standardsOf(options: readonly DeclaredOption[]): Record<string, FlagValue> {
  const standards: Record<string, FlagValue> = {};
  for (const { key, kind, standard } of options) {
    if (standard !== undefined) standards[key] = standard;
    else if (kind === 'list') standards[key] = [];
    else if (!takesValue(kind)) standards[key] = kind === 'negation';
  }
  return standards;
}

function kindOfValue(value: string): OptionKind {
  return value.endsWith('...') ? 'texts' : 'text';
}

function takesValue(kind: OptionKind): boolean {
  return kind !== 'switch' && kind !== 'negation';
}
