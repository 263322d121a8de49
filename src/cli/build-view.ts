const { stripVTControlCharacters, styleText } = process.getBuiltinModule('node:util');

/** A build's event as the daemon sends it. */
export interface WireBuildEvent {
  kind: 'begin' | 'cached' | 'output' | 'progress' | 'done' | 'failed' | 'warning';
  step?: number;
  name?: string;
  stage?: string;
  /** Base 64. */
  data?: string;
  id?: string;
  current?: number;
  total?: number;
  seconds?: number;
  bytes?: number;
  message?: string;
}

interface ShownStep {
  title: string;
  state: 'running' | 'cached' | 'done' | 'failed';
  startedMs: number;
  seconds: number | undefined;
  bytes: number | undefined;
  transfers: Map<string, { current: number; total: number }>;
  output: string[];
  rest: string;
}

const REFRESH_MS = 100;
/** Lines of a running step's output that stay in view. */
const TAIL = 4;
/** Lines of a failed step's output that are kept. */
const KEPT = 200;
/** A layer smaller than this is not worth a word. */
const WORTH_SAYING = 100_000;

/** Shows a build: live on a terminal, in lines elsewhere, or as JSON for programs. */
export interface BuildView extends Disposable {
  add(event: WireBuildEvent): void;
  /** The last word; `failed` shows what the step that failed had written. */
  finish(o: { failed: boolean }): void;
}

export function makeBuildView(kind: string): BuildView {
  if (kind === 'json' || kind === 'rawjson') return new JsonView();
  if (kind === 'quiet') return new QuietView();
  const live = kind === 'tty' || (kind === 'auto' && process.stderr.isTTY);
  return live ? new LiveView() : new PlainView();
}

class JsonView implements BuildView {
  add(event: WireBuildEvent): void {
    const data = event.data === undefined ? {} : { data: decode(event.data) };
    console.error(JSON.stringify({ ...event, ...data }));
  }

  finish(): void {
    // Each event was told as it came.
  }

  [Symbol.dispose](): void {
    // There is nothing to put back.
  }
}

class QuietView implements BuildView {
  readonly #outputs = new Map<number, string[]>();
  #failed: number | undefined;

  add(event: WireBuildEvent): void {
    const step = event.step ?? 0;
    if (event.kind === 'output') {
      const kept = this.#outputs.get(step) ?? [];
      this.#outputs.set(step, kept);
      kept.push(decode(event.data ?? ''));
    }
    if (event.kind === 'done') this.#outputs.delete(step);
    if (event.kind === 'failed') this.#failed = step;
  }

  finish(o: { failed: boolean }): void {
    if (o.failed && this.#failed !== undefined)
      process.stderr.write((this.#outputs.get(this.#failed) ?? []).join(''));
  }

  [Symbol.dispose](): void {
    // There is nothing to put back.
  }
}

class PlainView implements BuildView {
  readonly #steps = new Map<number, ShownStep>();

  add(event: WireBuildEvent): void {
    const number = event.step ?? 0;
    if (event.kind === 'warning') {
      console.error(`WARNING ${event.message ?? ''}`);
      return;
    }
    const step = follow(this.#steps, event);
    const say = (text: string): void => console.error(`#${number} ${text}`);
    if (event.kind === 'begin') say(step.title);
    else if (event.kind === 'output')
      for (const line of step.output.splice(0))
        say(`${((Date.now() - step.startedMs) / 1000).toFixed(3)} ${line}`);
    else if (event.kind === 'cached') say('CACHED');
    else if (event.kind === 'done') {
      if (step.rest !== '') say(step.rest);
      say(`DONE ${(event.seconds ?? 0).toFixed(1)}s${sizeText(event.bytes)}`);
    } else if (event.kind === 'failed') {
      if (step.rest !== '') say(step.rest);
      say('ERROR');
    }
  }

  finish(): void {
    // Each event was told as it came.
  }

  [Symbol.dispose](): void {
    // There is nothing to put back.
  }
}

/** A block at the end of the terminal, drawn anew as things change. */
class LiveView implements BuildView {
  readonly #steps = new Map<number, ShownStep>();
  readonly #warnings: string[] = [];
  readonly #started = Date.now();
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;

  constructor() {
    process.stderr.write('\u001b[?25l');
    this.#timer = setInterval(() => this.#draw(this.#visible()), REFRESH_MS);
  }

  add(event: WireBuildEvent): void {
    if (event.kind === 'warning') this.#warnings.push(event.message ?? '');
    else follow(this.#steps, event);
  }

  finish(o: { failed: boolean }): void {
    clearInterval(this.#timer);
    this.#draw(this.#all());
    for (const warning of this.#warnings) console.error(styleText('yellow', `WARNING ${warning}`));
    const failed = [...this.#steps.values()].find((step) => step.state === 'failed');
    if (o.failed && failed !== undefined && failed.output.length + failed.rest.length > 0) {
      console.error(styleText('dim', '------'));
      for (const line of [...failed.output, failed.rest]) if (line !== '') console.error(` ${line}`);
      console.error(styleText('dim', '------'));
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    process.stderr.write('\u001b[?25h');
  }

  #head(): string {
    const steps = [...this.#steps.values()];
    const finished = steps.filter(({ state }) => state !== 'running').length;
    const seconds = ((Date.now() - this.#started) / 1000).toFixed(1);
    return styleText('bold', `[+] Building ${seconds}s (${finished}/${steps.length})`);
  }

  #all(): string[] {
    return [this.#head(), ...[...this.#steps.values()].map((step) => lineOf(step))];
  }

  /** What fits: the steps that run with the end of their output, and the last that are over. */
  #visible(): string[] {
    const rows = Math.max(6, (process.stderr.rows || 24) - 2);
    const lines: string[] = [];
    for (const step of this.#steps.values()) {
      lines.push(lineOf(step));
      if (step.state === 'running')
        for (const text of [...step.output, step.rest].filter(Boolean).slice(-TAIL))
          lines.push(styleText('dim', `    ${text}`));
    }
    return [this.#head(), ...lines.slice(-rows)];
  }

  #draw(lines: readonly string[]): void {
    const width = process.stderr.columns || 80;
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A\r` : '';
    const text = lines.map((line) => `\u001b[2K${cut(line, width)}\n`).join('');
    process.stderr.write(`${up}${text}\u001b[0J`);
    this.#drawn = lines.length;
  }
}

function lineOf(step: ShownStep): string {
  const seconds = step.seconds ?? (Date.now() - step.startedMs) / 1000;
  const transfers = [...step.transfers.values()];
  const total = transfers.reduce((sum, each) => sum + each.total, 0);
  const current = transfers.reduce((sum, each) => sum + each.current, 0);
  const transfer = step.state === 'running' && total > 0 ? ` ${bytesText(current)}/${bytesText(total)}` : '';
  const time = step.state === 'cached' ? '' : ` ${seconds.toFixed(1)}s`;
  const text = `${step.title}${transfer}${sizeText(step.bytes)}${time}`;
  if (step.state === 'cached') return styleText('cyan', ` = ${text} CACHED`);
  if (step.state === 'done') return styleText('blue', ` ✔ ${text}`);
  if (step.state === 'failed') return styleText('red', ` ✘ ${text}`);
  return ` ⋯ ${text}`;
}

/** Brings what is known of a step up to date. */
function follow(steps: Map<number, ShownStep>, event: WireBuildEvent): ShownStep {
  const number = event.step ?? 0;
  const step: ShownStep = steps.get(number) ?? {
    title: '',
    state: 'running',
    startedMs: Date.now(),
    seconds: undefined,
    bytes: undefined,
    transfers: new Map(),
    output: [],
    rest: '',
  };
  steps.set(number, step);
  switch (event.kind) {
    case 'begin':
      step.title =
        (event.stage === undefined ? '' : `[${event.stage}] `) + (event.name ?? '').split('\n', 1)[0];
      break;
    case 'output': {
      const lines = (step.rest + decode(event.data ?? '')).split('\n');
      step.rest = lines.pop() ?? '';
      step.output.push(...lines.map(printable));
      if (step.output.length > KEPT) step.output.splice(0, step.output.length - KEPT);
      break;
    }
    case 'progress':
      step.transfers.set(event.id ?? '', { current: event.current ?? 0, total: event.total ?? 0 });
      break;
    case 'cached':
      step.state = 'cached';
      break;
    case 'done':
      step.state = 'done';
      step.seconds = event.seconds;
      step.bytes = event.bytes;
      break;
    case 'failed':
      step.state = 'failed';
      step.seconds = (Date.now() - step.startedMs) / 1000;
      break;
    case 'warning':
      break;
  }
  return step;
}

function decode(data: string): string {
  return Buffer.from(data, 'base64').toString('utf8');
}

/** What would move the cursor is not shown. */
function printable(line: string): string {
  return stripVTControlCharacters(line.split('\r').filter(Boolean).at(-1) ?? '').replace(/\p{Cc}/gu, ' ');
}

const ESCAPE = '\u001b';
const PIECE = new RegExp(`${ESCAPE}\\[[0-9;]*m|.`, 'gu');

/** No longer than the terminal is wide; escape sequences take no room. */
function cut(line: string, width: number): string {
  let shown = 0;
  let result = '';
  for (const [piece] of line.matchAll(PIECE)) {
    if (!piece.startsWith(ESCAPE)) {
      shown += 1;
      if (shown > width) continue;
    }
    result += piece;
  }
  return result;
}

function sizeText(bytes: number | undefined): string {
  return bytes === undefined || bytes < WORTH_SAYING ? '' : ` (${bytesText(bytes)})`;
}

function bytesText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e3).toFixed(1)} kB`;
}
