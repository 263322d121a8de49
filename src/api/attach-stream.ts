import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { DetachScanner } from './detach-keys.ts';
import { frame, type OutputStream } from './stream-frame.ts';

/** A process's stdio as the engine hands it out. */
export interface AttachSession {
  readonly tty: boolean;
  readonly output: AsyncIterable<{ stream: OutputStream; data: Buffer }>;
  /** Absent when stdin was not asked for, or the process has none. */
  readonly input: Writable | undefined;
  /** Ends `output`; the process runs on. */
  close(): void;
}

/**
 * Carries a session between a process and its client until the output ends, the client leaves, or a person types the
 * detach keys. Each side waits for the other when it is slower. The end of `source` is the end of stdin only; the
 * client still gets what the process writes. Ends `sink`.
 */
export async function carrySession(o: {
  session: AttachSession;
  source: Readable;
  sink: Writable;
  detachKeys: readonly number[];
  signal: AbortSignal;
}): Promise<void> {
  const { session, source, sink, signal } = o;
  const close = (): void => session.close();
  signal.addEventListener('abort', close, { once: true });
  carryInput(o);
  try {
    for await (const { stream, data } of session.output) {
      if (!sink.writable) break;
      if (!sink.write(session.tty ? data : frame(stream, data))) await once(sink, 'drain', { signal });
    }
  } catch (error) {
    // the client left: once() was aborted, or the write failed
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', close);
    session.close();
    sink.end();
    // reads on, so that the client's own end is noticed
    source.resume();
  }
}

function carryInput(o: { session: AttachSession; source: Readable; detachKeys: readonly number[] }): void {
  const { session, source } = o;
  const { input } = session;
  if (input === undefined) {
    source.resume();
    return;
  }
  const scanner = session.tty ? new DetachScanner(o.detachKeys) : undefined;
  const drop = (): void => {
    source.removeListener('data', pass);
    source.resume();
  };
  const pass = (chunk: Buffer): void => {
    const scanned = scanner?.scan(chunk);
    const bytes = scanned?.pass ?? chunk;
    if (bytes.length > 0 && !input.write(bytes)) {
      source.pause();
      input.once('drain', () => source.resume());
    }
    if (scanned?.detached === true) session.close();
  };
  source.on('data', pass);
  source.once('end', () => input.end());
  // a process that ended, or closed its stdin, reads no more: what still comes is dropped
  input.on('error', drop);
  input.once('close', drop);
}
