import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { type AttachSession, carrySession } from './attach-stream.ts';
import { frame, type OutputStream } from './stream-frame.ts';

/** A process that writes what it reads to stdout, then `bye` to stderr. */
class Echo implements AttachSession {
  readonly tty: boolean;
  readonly input: PassThrough = new PassThrough();
  closed = false;

  constructor(tty: boolean) {
    this.tty = tty;
  }

  get output(): AsyncIterable<{ stream: OutputStream; data: Buffer }> {
    return this.#output();
  }

  async *#output(): AsyncGenerator<{ stream: OutputStream; data: Buffer }> {
    for await (const data of this.input) yield { stream: 'stdout', data };
    if (!this.closed) yield { stream: 'stderr', data: Buffer.from('bye') };
  }

  close(): void {
    this.closed = true;
    this.input.end();
  }
}

async function run(session: AttachSession, typed: string[]): Promise<Buffer> {
  const source = new PassThrough();
  const sink = new PassThrough();
  for (const text of typed) source.write(text);
  source.end();
  const carried = carrySession({
    session,
    source,
    sink,
    detachKeys: [16, 17],
    signal: new AbortController().signal,
  });
  const chunks: Buffer[] = [];
  for await (const chunk of sink) chunks.push(chunk);
  await carried;
  return Buffer.concat(chunks);
}

test('without a terminal output is framed and outlives the end of stdin', async () => {
  assert.deepEqual(
    await run(new Echo(false), ['hi\x10\x11']),
    Buffer.concat([frame('stdout', Buffer.from('hi\x10\x11')), frame('stderr', Buffer.from('bye'))]),
  );
});

test('with a terminal output is as it is, and the detach keys end the session', async () => {
  assert.equal(String(await run(new Echo(true), ['hi'])), 'hibye');
  assert.equal(String(await run(new Echo(true), ['hi\x10', '\x11dropped'])), 'hi');
});

test('a client that leaves ends the session', async () => {
  const session = new Echo(false);
  const abort = new AbortController();
  const carried = carrySession({
    session,
    source: new PassThrough(),
    sink: new PassThrough(),
    detachKeys: [],
    signal: abort.signal,
  });
  abort.abort();
  await carried;
  assert.equal(session.closed, true);
});
