import { StringDecoder } from 'node:string_decoder';
import type { BuildEvent } from '#build/build-request.ts';

/** A build's events as lines for people: each begins with the number of its step, because steps run side by side. */
export class BuildLines {
  readonly #write: (text: string) => void;
  readonly #began = new Map<number, number>();
  readonly #rests = new Map<string, { decoder: StringDecoder; text: string }>();
  readonly #told = new Set<string>();

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  add(event: BuildEvent): void {
    switch (event.kind) {
      case 'begin':
        this.#began.set(event.step, performance.now());
        this.#line(event.step, event.stage === undefined ? event.name : `[${event.stage}] ${event.name}`);
        return;
      case 'cached':
        this.#line(event.step, 'CACHED');
        return;
      case 'output':
        this.#output(event.step, event.stream, event.data);
        return;
      case 'progress': {
        // A whole transfer is one line: people watch the other kind of progress.
        const key = `${event.step} ${event.id}`;
        if (event.current < event.total || this.#told.has(key)) return;
        this.#told.add(key);
        this.#line(event.step, `${event.id} fetched`);
        return;
      }
      case 'done':
        this.#flush(event.step);
        this.#line(event.step, `DONE ${event.seconds.toFixed(1)}s`);
        return;
      case 'failed':
        this.#flush(event.step);
        this.#line(event.step, `ERROR ${event.message.split('\n', 1)[0] ?? ''}`);
        return;
      case 'warning':
        this.#write(`WARNING ${event.message}\n`);
    }
  }

  #line(step: number, text: string): void {
    this.#write(`#${step} ${text}\n`);
  }

  #output(step: number, stream: string, data: Buffer): void {
    const key = `${step} ${stream}`;
    const rest = this.#rests.get(key) ?? { decoder: new StringDecoder('utf8'), text: '' };
    this.#rests.set(key, rest);
    const lines = (rest.text + rest.decoder.write(data)).split('\n');
    rest.text = lines.pop() ?? '';
    for (const line of lines) this.#timed(step, line);
  }

  #flush(step: number): void {
    for (const [key, rest] of this.#rests) {
      if (!key.startsWith(`${step} `)) continue;
      if (rest.text !== '') this.#timed(step, rest.text);
      this.#rests.delete(key);
    }
  }

  #timed(step: number, text: string): void {
    const seconds = (performance.now() - (this.#began.get(step) ?? performance.now())) / 1000;
    this.#line(step, `${seconds.toFixed(3)} ${text}`);
  }
}
