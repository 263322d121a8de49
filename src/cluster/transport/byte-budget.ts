/** Bytes that one peer's messages may occupy here, over all of its channels. */
export class ByteBudget {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds to what is used, or takes away. False when it is over the limit now. */
  use(bytes: number): boolean {
    this.#used += bytes;
    return this.#used <= this.#limit;
  }
}
