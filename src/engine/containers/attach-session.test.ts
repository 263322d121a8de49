import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { type OutputChunk, StreamSession } from './attach-session.ts';

/** A process's end of the stdio: what it writes is `push`ed, what it is sent is in `received`. */
class FakeProcess extends Duplex {
  readonly received: string[] = [];
  inputEnded = false;

  constructor() {
    super({ allowHalfOpen: true });
  }

  packet(stream: 2 | 3, text: string): void {
    this.push(Buffer.concat([Buffer.from([stream]), Buffer.from(text)]));
  }

  override _read(): void {
    // packets come when the test pushes them
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.received.push(chunk.toString());
    done();
  }

  override _final(done: () => void): void {
    this.inputEnded = true;
    done();
  }
}

async function texts(output: AsyncIterable<OutputChunk>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { stream, data } of output) seen.push(`${stream}:${data.toString()}`);
  return seen;
}

const both = { tty: false, stdin: false, stdout: true, stderr: true };

test('packets keep their stream and their borders, before and after the reader comes', async () => {
  const session = new StreamSession(both);
  const process = new FakeProcess();
  const output = texts(session.output);
  session.connect(process);
  process.packet(2, 'one');
  process.packet(3, 'two');
  process.packet(2, 'three');
  process.push(null);
  assert.deepEqual(await output, ['stdout:one', 'stderr:two', 'stdout:three']);
  assert.equal(process.destroyed, true);
});

test('the output ends when the exit code is known, not when the process closes it; a reader who leaves does not wait', async () => {
  const exited = Promise.withResolvers<void>();
  const seen: string[] = [];
  const sessions = [new StreamSession(both), new StreamSession(both)] as const;
  const outputs = sessions.map(async (session, index) => {
    const process = new FakeProcess();
    session.connect(process, exited.promise);
    process.push(null);
    await texts(session.output);
    seen.push(index === 0 ? 'ended' : 'left');
  });
  await new Promise((resolve) => setImmediate(resolve));
  sessions[1].close();
  await outputs[1];
  seen.push('exited');
  exited.resolve();
  await outputs[0];
  assert.deepEqual(seen, ['left', 'exited', 'ended']);
});

test('only the streams that were asked for are read', async () => {
  const session = new StreamSession({ ...both, stdout: false });
  const process = new FakeProcess();
  session.connect(process);
  process.packet(2, 'one');
  process.packet(3, 'two');
  process.push(null);
  assert.deepEqual(await texts(session.output), ['stderr:two']);
});

test('input given before the process is there reaches it, and so does its end', async () => {
  const session = new StreamSession({ ...both, stdin: true });
  session.input?.end('hello');
  const process = new FakeProcess();
  session.connect(process);
  const output = texts(session.output);
  await new Promise((resolve) => process.once('finish', resolve));
  assert.deepEqual(process.received, ['hello']);
  assert.equal(process.inputEnded, true);
  process.packet(2, 'bye');
  process.push(null);
  assert.deepEqual(await output, ['stdout:bye']);
});

test('a reader that does not read loses nothing', async () => {
  const session = new StreamSession(both);
  const process = new FakeProcess();
  session.connect(process);
  const iterator = session.output[Symbol.asyncIterator]();
  const sent = Array.from({ length: 500 }, (_, index) => String(index));
  process.packet(2, '0');
  await iterator.next();
  for (const text of sent.slice(1)) process.packet(2, text);
  process.push(null);
  await new Promise((resolve) => setImmediate(resolve));
  const rest: string[] = [];
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    rest.push(next.value.data.toString());
  }
  assert.deepEqual(['0', ...rest], sent);
});

test('closing ends the output, connected or not', async () => {
  const waiting = new StreamSession(both);
  const nothing = texts(waiting.output);
  waiting.close();
  assert.deepEqual(await nothing, []);
  const late = new FakeProcess();
  waiting.connect(late);
  assert.equal(late.destroyed, true);

  const running = new StreamSession({ ...both, stdin: true });
  const process = new FakeProcess();
  running.connect(process);
  const output = texts(running.output);
  running.close();
  assert.deepEqual(await output, []);
  assert.equal(process.destroyed, true);
});

test('a broken connection is the end of the output', async () => {
  const session = new StreamSession(both);
  const process = new FakeProcess();
  session.connect(process);
  const output = texts(session.output);
  await new Promise((resolve) => setImmediate(resolve));
  process.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
  assert.deepEqual(await output, []);
});
