import { invalid } from '#model/errors.ts';

/** The largest message, as JSON in UTF-8. */
export const LARGEST_MESSAGE: number = 16 * 1024 * 1024;

/**
 * One line is one message, or how a channel ends: with an error, or (`end`, with null) in order. Without such a line it broke, whatever the
 * stream says. A character for which of them, JSON, a line feed.
 */
export type LineKind = 'message' | 'error' | 'end';

const KINDS: ReadonlyMap<string, LineKind> = new Map([
  ['.', 'message'],
  ['!', 'error'],
  ['$', 'end'],
]);
const MARKS: Readonly<Record<LineKind, string>> = { message: '.', error: '!', end: '$' };
const LINE_FEED = 10;

/** A message as the text that is sent. Throws `invalid` for what is no JSON value, and for what is larger than the largest message. */
export function messageText(message: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(message);
  } catch (cause) {
    throw invalid('a message has to be a JSON value', { cause });
  }
  if (text === undefined) throw invalid('a message has to be a JSON value');
  // a character is at most three bytes
  if (text.length * 3 > LARGEST_MESSAGE && Buffer.byteLength(text) > LARGEST_MESSAGE)
    throw invalid(`a message of ${Buffer.byteLength(text)} bytes is over the limit of ${LARGEST_MESSAGE}`);
  return text;
}

export function encodeLine(kind: LineKind, text: string): Buffer {
  return Buffer.from(`${MARKS[kind]}${text}\n`);
}

/** Takes lines out of chunks as they come. Holds at most one unfinished line. */
export class LineReader {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #held = 0;

  /** `limit` is the largest JSON text of a line, in bytes. */
  constructor(limit: number = LARGEST_MESSAGE) {
    this.#limit = limit;
  }

  /** Bytes of the unfinished line. */
  get held(): number {
    return this.#held;
  }

  /** The lines that this chunk completes. Throws `invalid` for one that is too long, has no mark, or is no JSON. */
  *read(chunk: Buffer): Generator<{ kind: LineKind; message: unknown; bytes: number }> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, start);
      const part = chunk.subarray(start, end === -1 ? undefined : end);
      this.#held += part.length;
      // its mark is not counted
      if (this.#held > this.#limit + 1) {
        this.drop();
        throw invalid(`a message is over the limit of ${this.#limit} bytes`);
      }
      if (part.length > 0) this.#parts.push(part);
      if (end === -1) return;
      const line = Buffer.concat(this.#parts);
      this.drop();
      start = end + 1;
      yield { ...parsedLine(line), bytes: line.length };
    }
  }

  /** Forgets the unfinished line. */
  drop(): void {
    this.#parts = [];
    this.#held = 0;
  }
}

function parsedLine(line: Buffer): { kind: LineKind; message: unknown } {
  const kind = KINDS.get(line.toString('latin1', 0, 1));
  if (kind === undefined) throw invalid('a line on a channel is no message');
  try {
    const message: unknown = JSON.parse(line.toString('utf8', 1));
    return { kind, message };
  } catch (cause) {
    throw invalid('a message on a channel is not JSON', { cause });
  }
}
