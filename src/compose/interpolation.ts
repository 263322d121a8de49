import { invalid } from '#model/errors.ts';

/** Values for `${NAME}`; undefined is "not set". */
export type Environment = (name: string) => string | undefined;

/**
 * Replaces variables in a Compose file's text value: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`,
 * `${NAME:?error}`, `${NAME?error}`, `${NAME:+other}`, `${NAME+other}`, nested; `$$` is a dollar sign (Compose
 * specification, Interpolation). `missing` is told the names that are not set and have no default.
 */
export function interpolate(text: string, environment: Environment, missing: (name: string) => void): string {
  let out = '';
  let at = 0;
  while (at < text.length) {
    const dollar = text.indexOf('$', at);
    if (dollar === -1) return out + text.slice(at);
    out += text.slice(at, dollar);
    const rest = text.slice(dollar + 1);
    const bare = /^[A-Za-z_][A-Za-z0-9_]*/.exec(rest)?.[0];
    if (rest.startsWith('$')) {
      out += '$';
      at = dollar + 2;
    } else if (rest.startsWith('{')) {
      const end = closingBrace(text, dollar + 2);
      out += expand(text.slice(dollar + 2, end), environment, missing);
      at = end + 1;
    } else if (bare !== undefined) {
      out += variable(bare, environment, missing);
      at = dollar + 1 + bare.length;
    } else {
      throw invalid(`invalid interpolation format: ${JSON.stringify(text)}: write $$ for a dollar sign`);
    }
  }
  return out;
}

function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '{' && text[i - 1] === '$') depth += 1;
    if (text[i] === '}') depth -= 1;
    if (depth === 0) return i;
  }
  throw invalid(`invalid interpolation format: ${JSON.stringify(text)}: a brace is not closed`);
}

function expand(expression: string, environment: Environment, missing: (name: string) => void): string {
  const match = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])(.*))?$/s.exec(expression);
  if (match === null) throw invalid(`invalid interpolation format: "\${${expression}}"`);
  const [, name = '', operator = '', argument = ''] = match;
  const value = environment(name);
  const isSet = value !== undefined && (value !== '' || !operator.startsWith(':'));
  const other = (): string => interpolate(argument, environment, missing);
  switch (operator.at(-1)) {
    case '-':
      return isSet ? value : other();
    case '+':
      return isSet ? other() : '';
    case '?':
      if (isSet) return value;
      throw invalid(`required variable ${name} is missing a value: ${other()}`);
    default:
      return variable(name, environment, missing);
  }
}

function variable(name: string, environment: Environment, missing: (name: string) => void): string {
  const value = environment(name);
  if (value === undefined) missing(name);
  return value ?? '';
}

/** The lines of a `.env` file: NAME=value, quotes, comments, `export`. */
export function parseEnvFile(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=\s*(.*?))?\s*$/.exec(line);
    if (match === null || line.trimStart().startsWith('#')) continue;
    const [, name = '', raw = ''] = match;
    const quoted = /^'([^']*)'|^"((?:[^"\\]|\\.)*)"/.exec(raw);
    const value =
      quoted?.[1] ?? quoted?.[2]?.replace(/\\n/g, '\n').replace(/\\(.)/g, '$1') ?? raw.replace(/\s+#.*$/, '');
    values.set(name, value);
  }
  return values;
}
