import type { BuildEvent } from '#build/build-request.ts';
import { digestOf } from '#engine/blobs/blob-store.ts';
import type { StatusResponse, Timestamp, Vertex } from './control-messages.ts';

/** A build's events as BuildKit's clients follow them: a vertex for each step. */
export class BuildStatus {
  readonly #ref: string;
  readonly #began = new Map<number, Partial<Vertex>>();

  /** `ref` is the build's own name. */
  constructor(ref: string) {
    this.#ref = ref;
  }

  /** What an event changes; `nowMs` in milliseconds since the epoch. */
  of(event: BuildEvent, nowMs: number): Partial<StatusResponse> {
    const now = timestamp(nowMs);
    // a warning is shown with the step that reads the Dockerfile
    const vertex = this.#vertex(event.kind === 'warning' ? 1 : event.step);
    const { digest = '' } = vertex;
    switch (event.kind) {
      case 'begin':
        vertex.name = event.stage === undefined ? event.name : `[${event.stage}] ${event.name}`;
        vertex.started = now;
        return { vertexes: [{ ...vertex }] };
      case 'cached':
        return { vertexes: [{ ...vertex, cached: true, completed: now }] };
      case 'done':
        return { vertexes: [{ ...vertex, completed: now }] };
      case 'failed':
        return { vertexes: [{ ...vertex, completed: now, error: event.message }] };
      case 'output': {
        const stream = event.stream === 'stdout' ? 1 : 2;
        return { logs: [{ vertex: digest, timestamp: now, stream, msg: event.data }] };
      }
      case 'warning':
        return { warnings: [{ vertex: digest, level: 1, short: Buffer.from(event.message) }] };
      case 'progress': {
        const { id, current, total } = event;
        const started = vertex.started ?? now;
        const completed = total > 0 && current >= total ? now : undefined;
        return { statuses: [{ id, vertex: digest, current, total, timestamp: now, started, completed }] };
      }
    }
  }

  #vertex(step: number): Partial<Vertex> {
    const known = this.#began.get(step) ?? {
      digest: digestOf(Buffer.from(`${this.#ref} ${step}`)),
    };
    this.#began.set(step, known);
    return known;
  }
}

export function timestamp(milliseconds: number): Timestamp {
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanos: Math.round((milliseconds - seconds * 1000) * 1e6) };
}
