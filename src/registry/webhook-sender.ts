import { createHmac, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { messageOf } from '#model/errors.ts';
import { retryDelayMs } from './registry-client.ts';
import { matchesPattern, type Webhook } from './registry-configuration.ts';

/** Something that happened to a manifest or a tag, as Docker's registry notifications tell it. */
export interface RegistryEvent {
  action: 'push' | 'pull' | 'delete';
  repository: string;
  digest: string;
  mediaType: string;
  size: number;
  tag: string | undefined;
  actor: string;
}

const ATTEMPTS = 5;
const TIMEOUT_MS = 10_000;
/** More waiting calls than this say that the other end is gone: the oldest are dropped. */
const MOST_WAITING = 1000;

/** Tells others what happens, in order for each of them; one that does not answer is tried again for a while. */
export class WebhookSender implements Disposable {
  readonly #log: Logger;
  readonly #queues: { hook: Webhook; waiting: RegistryEvent[]; isRunning: boolean }[];
  readonly #stop = new AbortController();

  constructor(o: { hooks: readonly Webhook[]; log: Logger }) {
    this.#log = o.log;
    this.#queues = o.hooks.map((hook) => ({ hook, waiting: [], isRunning: false }));
  }

  publish(event: RegistryEvent): void {
    for (const queue of this.#queues) {
      const { hook } = queue;
      if (!hook.events.includes(event.action)) continue;
      if (!hook.repositories.some((pattern) => matchesPattern(event.repository, pattern))) continue;
      queue.waiting.push(event);
      if (queue.waiting.length > MOST_WAITING) {
        queue.waiting.shift();
        this.#log.warn({ url: hook.url }, 'webhook: too many calls wait, the oldest is dropped');
      }
      if (!queue.isRunning) void this.#run(queue);
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #run(queue: { hook: Webhook; waiting: RegistryEvent[]; isRunning: boolean }): Promise<void> {
    queue.isRunning = true;
    for (let event = queue.waiting.shift(); event !== undefined; event = queue.waiting.shift()) {
      if (this.#stop.signal.aborted) break;
      await this.#deliver(queue.hook, event);
    }
    queue.isRunning = false;
  }

  async #deliver(hook: Webhook, event: RegistryEvent): Promise<void> {
    const body = JSON.stringify({ events: [wireEvent(event)] });
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await fetch(hook.url, {
          method: 'POST',
          redirect: 'error',
          headers: {
            'Content-Type': 'application/vnd.docker.distribution.events.v2+json',
            ...(hook.secret === undefined
              ? {}
              : {
                  'X-Drover-Signature': `sha256=${createHmac('sha256', hook.secret).update(body).digest('hex')}`,
                }),
          },
          body,
          signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]),
        });
        await response.body?.cancel();
        if (response.ok) return;
        throw new Error(`it answers ${response.status}`);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (attempt >= ATTEMPTS) {
          this.#log.warn({ url: hook.url, error: messageOf(error) }, 'webhook: given up');
          return;
        }
        await sleep(retryDelayMs(attempt), undefined, { ref: false });
      }
    }
  }
}

function wireEvent(event: RegistryEvent): object {
  return {
    id: randomUUID(),
    timestamp: new Date().toISOString(),
    action: event.action,
    target: {
      mediaType: event.mediaType,
      digest: event.digest,
      size: event.size,
      length: event.size,
      repository: event.repository,
      ...(event.tag === undefined ? {} : { tag: event.tag }),
    },
    actor: { name: event.actor },
  };
}
