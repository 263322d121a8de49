import type { BuildEvent } from '#build/build-request.ts';
import type { Image } from '#model/image.ts';
import { BuildStatus } from './build-status.ts';
import type { ClientSession } from './client-session.ts';
import type { SolveRequest, StatusResponse } from './control-messages.ts';

/** What nobody follows is not kept for ever. */
const MOST_KEPT = 50_000;

/** One build that a client asked for by its control API. */
export class SolveJob {
  readonly request: SolveRequest;
  readonly session: ClientSession;
  /** What the client, whose the frontend is, says is the result; settled once. */
  readonly returned: PromiseWithResolvers<string> = Promise.withResolvers<string>();
  readonly #status: BuildStatus;
  #news: Partial<StatusResponse>[] = [];
  #wake: PromiseWithResolvers<void> = Promise.withResolvers<void>();
  #isOver = false;
  /** Images that were built, by the name that the client has for them. */
  readonly #results = new Map<string, Image>();

  constructor(request: SolveRequest, session: ClientSession) {
    this.request = request;
    this.session = session;
    this.#status = new BuildStatus(request.ref);
    // Where nobody waits for it any more, there is nobody to tell.
    this.returned.promise.catch(() => undefined);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  report(event: BuildEvent): void {
    if (this.#news.length < MOST_KEPT) this.#news.push(this.#status.of(event, Date.now()));
    this.#wake.resolve();
  }

  addResult(image: Image): string {
    this.#results.set(image.id, image);
    return image.id;
  }

  result(id: string): Image | undefined {
    return this.#results.get(id);
  }

  /** Nothing more will come. */
  end(): void {
    this.#isOver = true;
    this.#wake.resolve();
  }

  /** What happens, from the beginning to the end. For one follower. */
  async *follow(): AsyncGenerator<Partial<StatusResponse>> {
    for (;;) {
      const news = this.#news.splice(0);
      if (news.length > 0) yield merged(news);
      else if (this.#isOver) return;
      else {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers<void>();
      }
    }
  }
}

function merged(news: readonly Partial<StatusResponse>[]): Partial<StatusResponse> {
  return {
    vertexes: news.flatMap(({ vertexes = [] }) => vertexes),
    statuses: news.flatMap(({ statuses = [] }) => statuses),
    logs: news.flatMap(({ logs = [] }) => logs),
    warnings: news.flatMap(({ warnings = [] }) => warnings),
  };
}
