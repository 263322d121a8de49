import type { Clock } from '#control/clock.ts';

/** What a pipe needs to know of the network that it is in. */
export interface PipeWeather {
  readonly clock: Clock;
  /** Milliseconds that the next thing is on its way. */
  readonly delayMs: () => number;
  /** Resolves when something can get through again; undefined while it can. */
  readonly blocked: () => Promise<void> | undefined;
}

/** One direction of a connection: what is posted happens at the other end, later and in order. */
export class MemoryPipe {
  readonly #weather: PipeWeather;
  readonly #gone: AbortSignal;
  readonly #underway: { readonly dueMs: number; readonly arrive: () => void }[] = [];
  #isRunning = false;

  /** Nothing arrives any more when `gone` aborts. */
  constructor(weather: PipeWeather, gone: AbortSignal) {
    this.#weather = weather;
    this.#gone = gone;
  }

  post(arrive: () => void): void {
    const dueMs = this.#weather.clock.nowMs() + this.#weather.delayMs();
    // a queue: nothing overtakes within a connection, whenever it is due
    this.#underway.push({ dueMs, arrive });
    if (!this.#isRunning) void this.#run();
  }

  /** What is on its way is lost. */
  clear(): void {
    this.#underway.length = 0;
  }

  async #run(): Promise<void> {
    const { clock } = this.#weather;
    this.#isRunning = true;
    try {
      // nothing arrives while it is posted
      await clock.sleep(0, this.#gone);
      for (let next = this.#underway.at(0); next !== undefined; next = this.#underway.at(0)) {
        const waitMs = next.dueMs - clock.nowMs();
        if (waitMs > 0) await clock.sleep(waitMs, this.#gone);
        for (let heal = this.#weather.blocked(); heal !== undefined; heal = this.#weather.blocked())
          await heal;
        if (this.#gone.aborted) return;
        // it may have been lost meanwhile
        if (this.#underway[0] !== next) continue;
        this.#underway.shift();
        next.arrive();
      }
    } catch (error) {
      if (!this.#gone.aborted) throw error;
    } finally {
      this.#isRunning = false;
    }
  }
}
