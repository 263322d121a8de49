import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RegistryContent } from './registry-content.ts';

/** What the registry tells Prometheus. */
export class RegistryMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #seconds: Histogram<'route'>;
  readonly #bytes: Counter<'direction'>;

  constructor(content: RegistryContent) {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: 'drover_registry_requests_total',
      help: 'Requests answered.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'drover_registry_request_seconds',
      help: 'Time from a request to the end of its answer.',
      labelNames: ['route'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    });
    this.#bytes = new Counter({
      name: 'drover_registry_blob_bytes_total',
      help: 'Bytes of blobs received and sent.',
      labelNames: ['direction'],
      registers,
    });
    const gauge = (name: string, help: string, value: () => number): void => {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    };
    gauge('drover_registry_uploads', 'Uploads begun and not finished.', () => content.uploadsInWork);
    const counts = (): ReturnType<RegistryContent['catalogue']['counts']> => content.catalogue.counts();
    gauge('drover_registry_repositories', 'Repositories.', () => counts().repositories);
    gauge('drover_registry_tags', 'Tags.', () => counts().tags);
    gauge('drover_registry_manifests', 'Manifests.', () => counts().manifests);
    gauge('drover_registry_stored_bytes', 'Bytes of blobs, each counted once.', () => counts().bytes);
  }

  answered(o: { method: string; route: string; status: number; seconds: number }): void {
    this.#requests.inc({ method: o.method, route: o.route, status: String(o.status) });
    this.#seconds.observe({ route: o.route }, o.seconds);
  }

  transferred(direction: 'in' | 'out', bytes: number): void {
    this.#bytes.inc({ direction }, bytes);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
