import { invalid } from '#model/errors.ts';

/** What variables mean; undefined where one is not set. */
export type Variables = (name: string) => string | undefined;

export interface ExpansionOptions {
  variables: Variables;
  escapeToken: string;
  /** Quotes and escapes stay in the result, as a heredoc's lines want it. */
  keepQuotes?: boolean;
}

/** Replaces variables in a text and takes its quotes away (Dockerfile reference, "Environment replacement"). `invalid` says why not. */
export function expandWord(text: string, options: ExpansionOptions): string {
  return new Expansion(text, options).whole();
}

/** The same, split into words at blanks outside of quotes; unquoted variables are split as well. */
export function expandWords(text: string, options: ExpansionOptions): string[] {
  return new Expansion(text, options).words();
}

class Expansion {
  readonly #text: string;
  readonly #options: ExpansionOptions;
  #at = 0;

  constructor(text: string, options: ExpansionOptions) {
    this.#text = text;
    this.#options = options;
  }

  whole(): string {
    return this.#until(() => false);
  }

  words(): string[] {
    const words: string[] = [];
    let current: string | undefined;
    const finish = (): void => {
      if (current !== undefined) words.push(current);
      current = undefined;
    };
    while (this.#at < this.#text.length) {
      const character = this.#text.charAt(this.#at);
      if (/\s/.test(character)) {
        finish();
        this.#at += 1;
      } else if (character === '$') {
        const parts = this.#variable().split(/(\s+)/);
        for (const part of parts) {
          if (part === '') continue;
          if (/^\s/.test(part)) finish();
          else current = (current ?? '') + part;
        }
      } else current = (current ?? '') + this.#piece();
    }
    finish();
    return words;
  }

  /** Text up to where `ends` says so, which is left where it is. */
  #until(ends: (character: string) => boolean): string {
    let result = '';
    for (;;) {
      const character = this.#text.charAt(this.#at);
      if (ends(character) || character === '') return result;
      result += this.#piece();
    }
  }

  #piece(): string {
    const { escapeToken, keepQuotes } = this.#options;
    const character = this.#text.charAt(this.#at);
    if (character === '$') return this.#variable();
    if (character === escapeToken) return this.#escaped();
    if (keepQuotes !== true && character === "'") return this.#singleQuoted();
    if (keepQuotes !== true && character === '"') return this.#doubleQuoted();
    this.#at += 1;
    return character;
  }

  #escaped(): string {
    const next = this.#text.charAt(this.#at + 1);
    this.#at += 2;
    if (this.#options.keepQuotes === true)
      return next === '$' || next === this.#options.escapeToken ? next : this.#options.escapeToken + next;
    return next === '' ? this.#options.escapeToken : next;
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end < 0) throw invalid('unexpected end of statement while looking for matching single-quote');
    const inside = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return inside;
  }

  #doubleQuoted(): string {
    const { escapeToken } = this.#options;
    this.#at += 1;
    let result = '';
    for (;;) {
      const character = this.#text.charAt(this.#at);
      if (character === '')
        throw invalid('unexpected end of statement while looking for matching double-quote');
      if (character === '"') {
        this.#at += 1;
        return result;
      }
      if (character === '$') result += this.#variable();
      else if (character === escapeToken) {
        const next = this.#text.charAt(this.#at + 1);
        // Elsewhere between quotes the escape is a character like any other.
        result += next === '"' || next === '$' || next === escapeToken ? next : escapeToken + next;
        this.#at += 2;
      } else {
        result += character;
        this.#at += 1;
      }
    }
  }

  #variable(): string {
    this.#at += 1;
    if (this.#text.charAt(this.#at) === '{') return this.#braced();
    const name = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-])/.exec(this.#text.slice(this.#at))?.[0];
    if (name === undefined) return '$';
    this.#at += name.length;
    return this.#options.variables(name) ?? '';
  }

  #braced(): string {
    this.#at += 1;
    const name = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?!$-])/.exec(this.#text.slice(this.#at))?.[0];
    if (name === undefined) throw invalid('syntax error: bad substitution');
    this.#at += name.length;
    const value = this.#options.variables(name);
    const operator = /^(?:\}|:?[-+?]|##?|%%?|\/\/?)/.exec(this.#text.slice(this.#at))?.[0];
    if (operator === undefined)
      throw invalid(`unsupported modifier (${this.#text.charAt(this.#at)}) in substitution of ${name}`);
    this.#at += operator.length;
    if (operator === '}') return value ?? '';
    if (operator === '/' || operator === '//') return this.#replaced(value ?? '', operator === '//');
    const word = this.#closing(name);
    switch (operator) {
      case ':-':
        return value === undefined || value === '' ? word : value;
      case '-':
        return value ?? word;
      case ':+':
        return value === undefined || value === '' ? '' : word;
      case '+':
        return value === undefined ? '' : word;
      case ':?':
      case '?': {
        const missing = value === undefined || (operator === ':?' && value === '');
        if (missing) throw invalid(`${name}: ${word === '' ? 'is not set' : word}`);
        return value ?? '';
      }
      case '#':
      case '##':
        return withoutPrefix(value ?? '', word, operator === '##');
      default:
        return withoutSuffix(value ?? '', word, operator === '%%');
    }
  }

  /** What stands up to the brace that closes, expanded. */
  #closing(name: string): string {
    const word = this.#until((character) => character === '}');
    if (this.#text.charAt(this.#at) !== '}') throw invalid(`syntax error: missing } after \${${name}`);
    this.#at += 1;
    return word;
  }

  #replaced(value: string, all: boolean): string {
    const pattern = this.#until((character) => character === '/' || character === '}');
    let replacement = '';
    if (this.#text.charAt(this.#at) === '/') {
      this.#at += 1;
      replacement = this.#until((character) => character === '}');
    }
    if (this.#text.charAt(this.#at) !== '}') throw invalid('syntax error: missing } in a substitution');
    this.#at += 1;
    const expression = new RegExp(globSource(pattern, true), all ? 'gs' : 's');
    return value.replace(expression, () => replacement);
  }
}

/** `*` and `?` of a shell pattern as a regular expression. */
function globSource(pattern: string, greedy: boolean): string {
  return pattern.replace(/\\(.)|[.+^${}()|[\]\\/]|[*?]/gs, (all, escaped) => {
    if (escaped !== undefined) return escaped.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    if (all === '*') return greedy ? '.*' : '.*?';
    return all === '?' ? '.' : `\\${all}`;
  });
}

function withoutPrefix(value: string, pattern: string, longest: boolean): string {
  return value.replace(new RegExp(`^(?:${globSource(pattern, longest)})`, 's'), '');
}

function withoutSuffix(value: string, pattern: string, longest: boolean): string {
  const expression = new RegExp(`^(?:${globSource(pattern, true)})$`, 's');
  const starts = Array.from({ length: value.length + 1 }, (_, index) => index);
  const start = (longest ? starts : starts.reverse()).find((index) => expression.test(value.slice(index)));
  return start === undefined ? value : value.slice(0, start);
}

/** A heredoc's text: variables are replaced, quotes stay what they are. */
export function expandKeepingQuotes(text: string, variables: Variables, escapeToken: string): string {
  return expandWord(text, { variables, escapeToken, keepQuotes: true });
}
