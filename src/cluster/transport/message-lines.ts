import { invalid } from '#model/errors.ts';

/** The largest message, as JSON in UTF-8. */
export const LARGEST_MESSAGE: number = 16 * 1024 * 1024;

/**
 * One line is one message, or how a channel ends: with an error, or (`end`, with null) in order. Without such a line it broke, whatever the
 * stream says. A character for which of them, JSON, a line feed. A line of `=` and a length stands before a message of so many bytes.
 */
export type LineKind = 'message' | 'error' | 'end';

const KINDS: ReadonlyMap<string, LineKind> = new Map([
  ['.', 'message'],
  ['!', 'error'],
  ['$', 'end'],
]);
const MARKS: Readonly<Record<LineKind, string>> = { message: '.', error: '!', end: '$' };
const BYTES_MARK = '=';
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

/** What announces a message of bytes. Throws `invalid` for one that is larger than the largest message. */
export function bytesLine(message: Uint8Array): Buffer {
  if (message.length > LARGEST_MESSAGE)
    throw invalid(`a message of ${message.length} bytes is over the limit of ${LARGEST_MESSAGE}`);
  return Buffer.from(`${BYTES_MARK}${message.length}\n`);
}

/** Takes messages out of chunks as they come. Holds at most one unfinished line, or message of bytes. */
export class LineReader {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #held = 0;
  /** Of a message of bytes that was announced: how many. */
  #announced: number | undefined;

  /** `limit` is the largest JSON text of a line, or message of bytes, in bytes. */
  constructor(limit: number = LARGEST_MESSAGE) {
    this.#limit = limit;
  }

  /** Bytes of what is unfinished. */
  get held(): number {
    return this.#held;
  }

  /** The messages that this chunk completes. Throws `invalid` for a line that is too long, has no mark, or is no JSON. */
  *read(chunk: Buffer): Generator<{ kind: LineKind; message: unknown; bytes: number }> {
    let start = 0;
    for (;;) {
      if (this.#announced !== undefined) {
        const part = chunk.subarray(start, start + this.#announced - this.#held);
        start += part.length;
        this.#hold(part);
        if (this.#held < this.#announced) return;
        const message = Buffer.concat(this.#parts);
        this.drop();
        yield { kind: 'message', message, bytes: message.length };
      }
      const end = chunk.indexOf(LINE_FEED, start);
      const part = chunk.subarray(start, end === -1 ? undefined : end);
      this.#hold(part);
      // its mark is not counted
      if (this.#held > this.#limit + 1) this.#refuse();
      if (end === -1) return;
      const line = Buffer.concat(this.#parts);
      this.drop();
      start = end + 1;
      this.#announced = announcedBytes(line);
      if (this.#announced === undefined) yield { ...parsedLine(line), bytes: line.length };
      else if (this.#announced > this.#limit) this.#refuse();
    }
  }

  /** Forgets what is unfinished. */
  drop(): void {
    this.#parts = [];
    this.#held = 0;
    this.#announced = undefined;
  }

  #hold(part: Buffer): void {
    this.#held += part.length;
    if (part.length > 0) this.#parts.push(part);
  }

  #refuse(): never {
    this.drop();
    throw invalid(`a message is over the limit of ${this.#limit} bytes`);
  }
}

/** How long the bytes are that come after a line; undefined when it announces none. */
function announcedBytes(line: Buffer): number | undefined {
  const [, digits] = /^=(\d{1,15})$/.exec(line.toString('latin1', 0, 20)) ?? [];
  return digits === undefined ? undefined : Number(digits);
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
