import { DroverError, messageOf } from '#model/errors.ts';
import type { Call } from './call.ts';

/**
 * Lines of JSON that tell how a call is getting on. The answer's status is sent with the first line, so that what fails
 * before it gets its own status; what fails later is told in a last line, as Docker's clients expect.
 */
export class JsonStream {
  readonly #call: Call;
  #started = false;

  constructor(call: Call) {
    this.#call = call;
  }

  write(line: object): void {
    if (!this.#started) {
      this.#started = true;
      this.#call.startStream('application/json');
    }
    this.#call.response.write(`${JSON.stringify(line)}\r\n`);
  }

  end(): void {
    if (!this.#started) this.#call.startStream('application/json');
    this.#call.response.end();
  }

  /** Throws `error` on while a status can be sent for it. */
  fail(error: unknown): void {
    if (!this.#started) throw error;
    const message = hinted(error);
    const code = error instanceof DroverError ? error.exitCode : undefined;
    this.write({ errorDetail: { ...(code === undefined ? {} : { code }), message }, error: message });
    this.end();
  }
}

/** With what to do next: clients of streams show this text alone. */
function hinted(error: unknown): string {
  const message = messageOf(error);
  if (!(error instanceof DroverError) || error.hint === undefined) return message;
  return `${message}${message.includes('\n') ? '\n' : '. '}${error.hint}`;
}
