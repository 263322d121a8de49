import { styleText } from 'node:util';
import { invalid } from '#model/errors.ts';

interface TransferLine {
  status?: string;
  id?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
}

/** Pulls and pushes as they go on: on a terminal a line for each layer that changes in place, elsewhere a line for each change. */
export class TransferView {
  readonly #lines: string[] = [];
  readonly #ids: string[] = [];
  readonly #isTty: boolean = process.stdout.isTTY;

  add(raw: unknown): void {
    const line = raw as TransferLine;
    if (line.error !== undefined) throw invalid(line.error);
    if (line.status === undefined) return;
    if (line.id === undefined || /^Pulling from/.test(line.status)) {
      console.log(line.id === undefined ? line.status : `${line.id}: ${line.status}`);
      this.#lines.push('');
      this.#ids.push('');
      return;
    }
    const hasTotal = line.progressDetail?.total !== undefined;
    if (!this.#isTty) {
      if (!hasTotal) console.log(`${line.id}: ${line.status}`);
      return;
    }
    this.#show(line.id, `${line.id}: ${line.status} ${line.progress ?? ''}`.trimEnd());
  }

  #show(id: string, text: string): void {
    let at = this.#ids.indexOf(id);
    if (at < 0) {
      at = this.#ids.length;
      this.#ids.push(id);
      this.#lines.push('');
      process.stdout.write('\n');
    }
    this.#lines[at] = text;
    const up = this.#ids.length - at;
    const width = process.stdout.columns;
    process.stdout.write(`\u001b[${up}A\r\u001b[2K${styleText('dim', text.slice(0, width))}\u001b[${up}B\r`);
  }
}
