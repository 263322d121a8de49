import { internal, invalid } from '#model/errors.ts';

/** What `docker top` prints. */
export interface ProcessTable {
  Titles: string[];
  Processes: string[][];
}

/** Keeps the lines of ps(1)'s output that are about `pids`. The last column holds what is left of its line. */
export function parseProcessTable(text: string, pids: ReadonlySet<number>): ProcessTable {
  const [head = '', ...lines] = text.split('\n');
  const titles = head.trim().split(/\s+/);
  const pidColumn = titles.indexOf('PID');
  if (pidColumn < 0) throw internal("Couldn't find PID field in ps output");
  const rows = lines
    .filter((line) => line.trim() !== '')
    .map((line) => splitColumns(line.trim(), titles.length))
    .filter((row) => pids.has(Number(row[pidColumn])));
  return { Titles: titles, Processes: rows };
}

function splitColumns(line: string, count: number): string[] {
  const words = line.split(/\s+/);
  if (words.length <= count) return words;
  return [...words.slice(0, count - 1), words.slice(count - 1).join(' ')];
}

/** ps(1)'s arguments, split at white space as Docker does. Throws `invalid` where ps would not print one table. */
export function psArguments(text: string): string[] {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const refused = words.find(
    (word) => /^--?(V|v|version|help|info)\b/.test(word) || /[^\x20-\x7e]/.test(word),
  );
  if (refused !== undefined) throw invalid(`ps_args: ${JSON.stringify(refused)} is not taken`);
  return words.length === 0 ? ['-ef'] : words;
}
