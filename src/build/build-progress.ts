import type { BuildEvent } from './build-request.ts';

/** One step, told to whoever follows the build. */
export interface StepProgress {
  cached(): void;
  output(stream: 'stdout' | 'stderr', data: Buffer): void;
  transfer(id: string, current: number, total: number): void;
  done(bytes?: number): void;
  failed(message: string): void;
}

/** Numbers the steps of a build and says what becomes of them. */
export class BuildProgress {
  readonly #report: (event: BuildEvent) => void;
  #steps = 0;

  constructor(report: (event: BuildEvent) => void) {
    this.#report = report;
  }

  warn(message: string): void {
    this.#report({ kind: 'warning', message });
  }

  begin(name: string, stage?: string): StepProgress {
    this.#steps += 1;
    const step = this.#steps;
    const started = performance.now();
    this.#report({ kind: 'begin', step, name, stage });
    return {
      cached: () => this.#report({ kind: 'cached', step }),
      output: (stream, data) => this.#report({ kind: 'output', step, stream, data }),
      transfer: (id, current, total) => this.#report({ kind: 'progress', step, id, current, total }),
      done: (bytes) => {
        const seconds = (performance.now() - started) / 1000;
        this.#report({ kind: 'done', step, seconds, bytes });
      },
      failed: (message) => this.#report({ kind: 'failed', step, message }),
    };
  }
}
