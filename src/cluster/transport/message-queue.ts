/**
 * Messages that arrived and wait for their reader. It ends once, with or without an error; what was in it before is read first. A reader
 * that breaks off its loop goes on where it was with the next one.
 */
export class MessageQueue implements AsyncIterable<unknown> {
  readonly #taken: (bytes: number) => void;
  readonly #waiting: { readonly message: unknown; readonly bytes: number }[] = [];
  #end: { readonly error: Error | undefined } | undefined;
  #arrival: PromiseWithResolvers<void> | undefined;

  /** `taken` hears of each message that its reader has got, or that was dropped. */
  constructor(taken: (bytes: number) => void) {
    this.#taken = taken;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Adds a message; after the end it is dropped. */
  push(message: unknown, bytes: number): void {
    if (this.#end !== undefined) {
      this.#taken(bytes);
      return;
    }
    this.#waiting.push({ message, bytes });
    this.#wake();
  }

  /** Nothing comes any more. The first end counts. */
  end(error?: Error): void {
    this.#end ??= { error };
    this.#wake();
  }

  /** What waits is dropped; it ends without an error, unless it had ended before. */
  drop(): void {
    this.#end ??= { error: undefined };
    for (const { bytes } of this.#waiting.splice(0)) this.#taken(bytes);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void, undefined> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        this.#taken(next.bytes);
        yield next.message;
      } else if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else {
        this.#arrival ??= Promise.withResolvers();
        await this.#arrival.promise;
      }
    }
  }

  #wake(): void {
    this.#arrival?.resolve();
    this.#arrival = undefined;
  }
}
