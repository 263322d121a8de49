/**
 * Which manager an agent turns to next. In turn, so that one that is dead is not asked twice while others were not asked once; where one
 * of them says that another leads, there, unless that one has just failed: who says so may not know yet.
 */
export class ManagerRoute {
  #managers: readonly string[] = [];
  #turn: number;
  #leader: string | undefined;
  /** Those that could not be reached, or whose session broke, since one last went well. */
  readonly #failed = new Set<string>();

  /** `turn` is who begins: another one at each node. */
  constructor(managers: readonly string[], turn: number) {
    this.#managers = managers;
    this.#turn = turn;
  }

  /** They came or went. None is no news. */
  replace(managers: readonly string[]): void {
    if (managers.length > 0) this.#managers = managers;
  }

  /** How many there are to be asked before it is worth waiting. */
  get length(): number {
    return this.#managers.length;
  }

  /** Undefined where none is known. */
  next(): string | undefined {
    const leader = this.#leader;
    this.#leader = undefined;
    if (leader !== undefined) return leader;
    if (this.#managers.every((manager) => this.#failed.has(manager))) this.#failed.clear();
    const { length } = this.#managers;
    for (let skipped = 0; skipped < length; skipped++) {
      const manager = this.#managers[this.#turn++ % length];
      if (manager !== undefined && !this.#failed.has(manager)) return manager;
    }
    return undefined;
  }

  /** A manager says who leads. False where that one has just failed; said once more, it is tried again. */
  redirect(leader: string): boolean {
    if (this.#failed.delete(leader)) return false;
    this.#leader = leader;
    return true;
  }

  failed(manager: string): void {
    this.#failed.add(manager);
  }

  /** A leader has answered. */
  succeeded(): void {
    this.#failed.clear();
  }
}
