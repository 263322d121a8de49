import { DroverError } from '#model/errors.ts';

/** A place in a Dockerfile; both start at 1. */
export interface SourcePlace {
  line: number;
  column: number;
  /** The last line of what is meant. */
  endLine: number;
}

const CONTEXT_LINES = 2;

/** What is wrong with a Dockerfile, or with what one of its instructions does: names the place and shows the text around it. */
export class DockerfileProblem extends DroverError {
  readonly place: SourcePlace;

  constructor(
    message: string,
    o: { file: string; lines: readonly string[]; place: SourcePlace; cause?: unknown; hint?: string },
  ) {
    const { file, place } = o;
    super('invalid', `${file}:${place.line}:${place.column}: ${message}\n${excerpt(o.lines, place)}`, {
      ...(o.cause === undefined ? {} : { cause: o.cause }),
      ...(o.hint === undefined ? {} : { hint: o.hint }),
      ...(o.cause instanceof DroverError && o.cause.exitCode !== undefined
        ? { exitCode: o.cause.exitCode }
        : {}),
    });
    this.place = place;
  }
}

/** The lines around a place, numbered, those meant marked. */
function excerpt(lines: readonly string[], place: SourcePlace): string {
  const first = Math.max(1, place.line - CONTEXT_LINES);
  const last = Math.min(lines.length, place.endLine + CONTEXT_LINES);
  const width = String(last).length;
  const shown: string[] = [];
  for (let number = first; number <= last; number++) {
    const isMeant = number >= place.line && number <= place.endLine;
    shown.push(
      `${isMeant ? '>' : ' '} ${String(number).padStart(width)} | ${lines[number - 1] ?? ''}`.trimEnd(),
    );
    if (number === place.line && place.column > 1 && place.line === place.endLine)
      shown.push(`  ${' '.repeat(width)} | ${' '.repeat(place.column - 1)}^`);
  }
  return shown.join('\n');
}
