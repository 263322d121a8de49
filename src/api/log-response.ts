import { once } from 'node:events';
import type { LogOptions } from '#engine/containers/container-engine.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { booleanOf, nanosecondsOf } from './query.ts';
import { frame, type OutputStream, streamMediaType } from './stream-frame.ts';

/** What a client says before each line. */
export interface LineDetails {
  readonly timestamps: boolean;
  readonly details: boolean;
}

/** Which lines a request for logs is about, of a container or of tasks. `invalid` where no stream is chosen. */
export function logOptionsOf({ query, signal }: Call): Required<LogOptions> {
  const stdout = booleanOf(query, 'stdout');
  const stderr = booleanOf(query, 'stderr');
  if (!stdout && !stderr) throw invalid('Bad parameters: you must choose at least one stream');
  const tail = query.get('tail') ?? '';
  return {
    follow: booleanOf(query, 'follow'),
    stdout,
    stderr,
    sinceNs: nanosecondsOf(query, 'since'),
    untilNs: nanosecondsOf(query, 'until'),
    tail: /^\d{1,15}$/.test(tail) ? Number(tail) : 'all',
    signal,
  };
}

/** Sends records as lines, framed where there is no terminal, as fast as the client takes them. */
export async function sendLog<T extends { readonly stream: OutputStream }>(
  call: Call,
  o: {
    readonly tty: boolean;
    readonly records: AsyncIterable<T>;
    readonly lineOf: (record: T, details: LineDetails) => Buffer;
  },
): Promise<void> {
  const { query, signal } = call;
  const details = { timestamps: booleanOf(query, 'timestamps'), details: booleanOf(query, 'details') };
  const response = call.startStream(streamMediaType({ tty: o.tty, version: call.version }));
  for await (const record of o.records) {
    const line = o.lineOf(record, details);
    if (!response.write(o.tty ? line : frame(record.stream, line))) await once(response, 'drain', { signal });
  }
  response.end();
}
