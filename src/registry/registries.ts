import { kindOf } from '#model/errors.ts';
import type { RegistryCredentials } from './credentials.ts';
import { RegistryClient, TlsFailure } from './registry-client.ts';
import { type RegistryEndpoint, type RegistrySettings, registryEndpoints } from './registry-endpoints.ts';

/** The registry that this daemon serves itself. */
export interface OwnRegistry {
  /** Whether `host[:port]` is it. */
  isAt(host: string): boolean;
  /** Proves to it that a request comes from the daemon whose blobs it shares. */
  readonly secret: string;
}

export const OWN_REGISTRY_HEADER = 'x-drover-own';

/** Who talks to a registry, and for what. */
export interface RegistryAccess {
  /** As {@link ImageReference} has it: `docker.io/library/nginx`. */
  name: string;
  actions: 'pull' | 'pull,push';
  credentials: RegistryCredentials;
  signal: AbortSignal;
}

/** Where registries answer: mirrors, TLS or not, found out once for each host. */
export class Registries {
  readonly #settings: RegistrySettings;
  readonly #own: OwnRegistry | undefined;
  readonly #stallMs: number | undefined;
  /** Which of a host's endpoints answered. */
  readonly #answering = new Map<string, string>();

  constructor(o: { settings: RegistrySettings; own?: OwnRegistry | undefined; stallMs?: number }) {
    this.#settings = o.settings;
    this.#own = o.own;
    this.#stallMs = o.stallMs;
  }

  /**
   * Runs `work` with a client of the repository's registry: its mirrors first where something is pulled, and the next where one
   * fails. `path` is the repository's name there.
   */
  async use<T>(
    access: RegistryAccess,
    work: (client: RegistryClient, path: string) => Promise<T>,
  ): Promise<T> {
    const { host, path } = splitName(access.name);
    const scope = `repository:${path}:${access.actions}`;
    return await this.#use(host, { ...access, scope }, (client) => work(client, path));
  }

  /** The same for what belongs to no repository. */
  async useHost<T>(
    host: string,
    access: Omit<RegistryAccess, 'name' | 'actions'>,
    work: (client: RegistryClient) => Promise<T>,
  ): Promise<T> {
    return await this.#use(host, { ...access, actions: 'pull,push', scope: '' }, work);
  }

  async #use<T>(
    host: string,
    access: Omit<RegistryAccess, 'name'> & { scope: string },
    work: (client: RegistryClient) => Promise<T>,
  ): Promise<T> {
    const endpoints = registryEndpoints(host, this.#settings, { pull: access.actions === 'pull' });
    const mirrors = endpoints.filter((endpoint) => endpoint.isMirror);
    for (const endpoint of mirrors) {
      // A mirror is not told who the user is, and its failure is not the user's concern.
      using client = this.#client(endpoint, { ...access, credentials: {} });
      try {
        return await work(client);
      } catch (error) {
        if (access.signal.aborted) throw error;
      }
    }
    const direct = endpoints.filter((endpoint) => !endpoint.isMirror);
    using client = await this.#answeringClient(host, direct, access);
    return await work(client);
  }

  /** An insecure registry may speak TLS or not: the first that answers counts. */
  async #answeringClient(
    host: string,
    endpoints: readonly RegistryEndpoint[],
    access: Omit<RegistryAccess, 'name'> & { scope: string },
  ): Promise<RegistryClient> {
    const known = endpoints.find(({ url }) => url === this.#answering.get(host));
    for (const [index, endpoint] of (known === undefined ? endpoints : [known]).entries()) {
      const client = this.#client(endpoint, access);
      if (known !== undefined || endpoints.length === 1) return client;
      try {
        const response = await client.send({
          method: 'GET',
          path: '/v2/',
          what: `registry ${host}`,
          accept: [401, 403, 404],
          once: true,
        });
        response.resume();
        this.#answering.set(host, endpoint.url);
        return client;
      } catch (error) {
        const isLast = index === endpoints.length - 1;
        if (!(error instanceof TlsFailure) && !isLast && kindOf(error) === 'unauthorized') return client;
        client[Symbol.dispose]();
        if (isLast || access.signal.aborted) throw error;
      }
    }
    throw new Error('a registry has at least one endpoint');
  }

  #client(
    endpoint: RegistryEndpoint,
    o: { credentials: RegistryCredentials; scope: string; signal: AbortSignal },
  ): RegistryClient {
    const isOwn = this.#own?.isAt(endpoint.host) === true;
    return new RegistryClient({
      endpoint,
      credentials: o.credentials,
      scope: o.scope,
      signal: o.signal,
      ...(this.#stallMs === undefined ? {} : { stallMs: this.#stallMs }),
      ...(isOwn && this.#own !== undefined ? { headers: { [OWN_REGISTRY_HEADER]: this.#own.secret } } : {}),
    });
  }
}

/** `docker.io/library/nginx` → host and path. */
export function splitName(name: string): { host: string; path: string } {
  const slash = name.indexOf('/');
  return { host: name.slice(0, slash), path: name.slice(slash + 1) };
}
