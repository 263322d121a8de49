import type { DeclaredOption } from './command.ts';

/** What there is to say about a command. */
export interface HelpPage {
  /** `drover build [options] <path>` */
  usage: string;
  description: string;
  options: readonly DeclaredOption[];
  /** Of a group. */
  commands: readonly { usage: string; description: string }[];
  /** Below it all, as they are. */
  texts: readonly string[];
}

const INDENT = '  ';
const GAP = 2;
/** Narrower than this nobody reads a column; then lines go over the edge. */
const NARROWEST = 30;

/** The page, its descriptions wrapped to `columns` characters. */
export function formatHelp(page: HelpPage, columns: number): string {
  const options = page.options.map((each): [string, string] => [
    each.short === undefined ? `    ${each.written}` : each.written,
    `${each.description}${standardOf(each)}`,
  ]);
  const commands = page.commands.map(({ usage, description }): [string, string] => [usage, description]);
  const width = Math.max(...[...options, ...commands].map(([left]) => left.length)) + GAP;
  const list = (title: string, rows: readonly [string, string][]): string =>
    rows.length === 0 ? '' : `\n${title}:\n${rows.map((row) => formatRow(row, width, columns)).join('')}`;
  return [
    `Usage: ${page.usage}\n`,
    page.description === '' ? '' : `\n${wrapped(page.description, columns).join('\n')}\n`,
    list('Options', options),
    list('Commands', commands),
    ...page.texts.map((text) => `\n${text.trim()}\n`),
  ].join('');
}

function standardOf({ kind, standard }: DeclaredOption): string {
  return (kind === 'text' || kind === 'number') && standard !== undefined && standard !== ''
    ? ` (default: ${standard})`
    : '';
}

function formatRow([left, right]: readonly [string, string], width: number, columns: number): string {
  const lines = wrapped(right, columns - INDENT.length - width);
  return lines
    .map((line, index) => `${INDENT}${(index === 0 ? left : '').padEnd(width)}${line}`.trimEnd())
    .map((line) => `${line}\n`)
    .join('');
}

function wrapped(text: string, columns: number): string[] {
  if (columns < NARROWEST) return [text];
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
