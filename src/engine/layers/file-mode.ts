import { invalid } from '#model/errors.ts';

/** A file's permission bits, changed; the second argument says whether it is a directory. */
export type FileModeChange = (mode: number, isDirectory: boolean) => number;

const WHO: Record<string, number> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };

/** Parses what `--chmod` takes: octal, or symbolic as chmod(1) (`u=rwX,go-w`). Without a text nothing changes. */
export function fileModeChange(text: string | undefined): FileModeChange {
  if (text === undefined || text === '') return (mode) => mode;
  if (/^[0-7]{1,5}$/.test(text)) {
    const fixed = Number.parseInt(text, 8) & 0o7777;
    return () => fixed;
  }
  const clauses = text.split(',').map((clause) => {
    const match = /^([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)$/.exec(clause);
    if (match === null)
      throw invalid(
        `invalid chmod parameter: '${text}'. It should be octal, or symbolic such as u=rwX,go=rX`,
      );
    const [, who = '', actions = ''] = match;
    const mask = [...(who === '' ? 'a' : who)].reduce((bits, each) => bits | (WHO[each] ?? 0), 0);
    return { mask, actions: [...actions.matchAll(/([-+=])([ugo]|[rwxXst]*)/g)] };
  });
  return (mode, isDirectory) =>
    clauses.reduce(
      (before, { mask, actions }) =>
        actions.reduce((bits, [, operator, what = '']) => {
          const asked = permissions(what, bits, isDirectory) & mask;
          if (operator === '+') return bits | asked;
          if (operator === '-') return bits & ~asked;
          return (bits & ~(mask & 0o777)) | asked;
        }, before),
      mode,
    );
}

function permissions(what: string, mode: number, isDirectory: boolean): number {
  const triple = (bits: number): number => bits | (bits << 3) | (bits << 6);
  if (what === 'u') return triple((mode >> 6) & 7);
  if (what === 'g') return triple((mode >> 3) & 7);
  if (what === 'o') return triple(mode & 7);
  let bits = 0;
  for (const each of what) {
    if (each === 'r') bits |= triple(4);
    else if (each === 'w') bits |= triple(2);
    else if (each === 'x') bits |= triple(1);
    else if (each === 'X') bits |= isDirectory || (mode & 0o111) !== 0 ? triple(1) : 0;
    else if (each === 's') bits |= 0o6000;
    else if (each === 't') bits |= 0o1000;
  }
  return bits;
}
