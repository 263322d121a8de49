import { styleText } from 'node:util';

/** What is going on, on standard error: one line a thing that was done, in colour on a terminal only. */
export class Progress {
  /** `Container hello-web-1  Started`. */
  done(kind: string, name: string, what: string): void {
    const mark = process.stderr.isTTY ? styleText('green', '✔') : '-';
    console.error(` ${mark} ${kind} ${name}  ${what}`);
  }

  note(text: string): void {
    console.error(text);
  }
}
