import { styleText } from 'node:util';
import type { StackProgress, StackServiceProgress } from '#model/stack-progress.ts';

/** Where a view writes: standard error, in a test anything. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const MARKS = { waiting: '·', moving: '…', settled: '✔', failed: '✘' } as const;
const COLOURS = { waiting: 'dim', moving: 'yellow', settled: 'green', failed: 'red' } as const;
const DEFAULT_COLUMNS = 80;

/** How a deployment gets on: on a terminal a line a service that is written over, elsewhere a line for each change. */
export class DeployView {
  readonly #screen: Screen;
  readonly #shown = new Map<string, string>();
  #lines = 0;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  show({ services }: StackProgress): void {
    const width = Math.max(0, ...services.map(({ name }) => name.length));
    if (this.#screen.isTTY === true) this.#redraw(services, width);
    else this.#tell(services, width);
  }

  #redraw(services: readonly StackServiceProgress[], width: number): void {
    const columns = this.#screen.columns ?? DEFAULT_COLUMNS;
    const up = this.#lines === 0 ? '' : `\x1b[${this.#lines}A`;
    const lines = services.map((service) => {
      const mark = styleText(COLOURS[service.state], MARKS[service.state]);
      return `\x1b[2K ${mark} ${lineOf(service, width).slice(0, columns - 4)}\n`;
    });
    this.#screen.write(up + lines.join(''));
    this.#lines = lines.length;
  }

  #tell(services: readonly StackServiceProgress[], width: number): void {
    for (const service of services) {
      const line = lineOf(service, width);
      if (this.#shown.get(service.name) === line) continue;
      this.#shown.set(service.name, line);
      this.#screen.write(`${line}\n`);
    }
  }
}

function lineOf(
  { name, state, running, wanted, update, reason }: StackServiceProgress,
  width: number,
): string {
  const what = state === 'settled' ? 'done' : (UPDATES[update] ?? update) || state;
  return `${name.padEnd(width)}  ${running}/${wanted}  ${what}${reason === '' ? '' : `: ${reason}`}`;
}

const UPDATES: Readonly<Record<string, string>> = {
  updating: 'updating',
  completed: 'moving',
  rollback_started: 'rolling back',
  rollback_completed: 'rolled back',
  rollback_paused: 'rollback paused',
  paused: 'paused',
};
