import { kindOf } from '#model/errors.ts';

/**
 * What clients were told. Of each thing that they change it knows what it may be now: what was acknowledged last, or what was asked
 * for since without an answer. One request about a thing at a time.
 */
export class Ledger {
  readonly #possible = new Map<string, Set<string>>();
  readonly #busy = new Set<string>();

  get pending(): number {
    return this.#busy.size;
  }

  isBusy(key: string): boolean {
    return this.#busy.has(key);
  }

  /** What a thing is from the beginning. */
  know(key: string, value: string): void {
    this.#possible.set(key, new Set([value]));
  }

  /** Asks for `value`. Errors are answers too: only after those that leave it open whether something happened, both are possible. */
  async ask(key: string, value: string, request: () => Promise<unknown>): Promise<void> {
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    try {
      await request();
      this.#possible.set(key, new Set([value]));
    } catch (error) {
      switch (kindOf(error)) {
        case 'internal':
          throw error;
        case 'unavailable':
        case 'cancelled':
          this.#possible.set(key, new Set([...(this.#possible.get(key) ?? [GONE]), value]));
          break;
        default:
      }
    } finally {
      this.#busy.delete(key);
    }
  }

  /**
   * What was acknowledged, and is not so. `actual` gives a thing's value, {@link GONE} for what is not there, and undefined where it
   * cannot be compared.
   */
  *lost(actual: (key: string) => string | undefined): Generator<string> {
    for (const [key, possible] of this.#possible) {
      const value = actual(key);
      if (value !== undefined && !possible.has(value))
        yield `${key} is ${value}, and was acknowledged as ${[...possible].join(' or ')}`;
    }
  }
}

/** The value of what is not there. */
export const GONE = 'gone';
