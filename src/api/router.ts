import findMyWay from 'find-my-way';
import type { Method, Route } from './route.ts';

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string | undefined>>;
}

/** Finds the route of a method and an unversioned path. Names of images may hold slashes wherever `{name}` stands. */
export class Router {
  readonly #router: findMyWay.Instance<findMyWay.HTTPVersion.V1> = findMyWay({ maxParamLength: 4096 });
  /** For each first segment (`images`), method and last segment (`json`) that stands behind a `{name}`. */
  readonly #afterName = new Map<string, Set<string>>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const pattern = route.path.replaceAll(/\{(\w+)\}/g, ':$1');
      this.#router.on(route.method, pattern, () => undefined, route);
      const named = /^\/(\w+)\/\{name\}(?:\/(\w+))?$/.exec(route.path);
      if (named === null) continue;
      const key = `${route.method} ${named[1] ?? ''}`;
      const endings = this.#afterName.get(key) ?? new Set();
      this.#afterName.set(key, endings.add(named[2] ?? ''));
    }
  }

  find(method: string, path: string): Match | undefined {
    if (!isMethod(method)) return undefined;
    const found = this.#router.find(method, this.#joinName(method, path));
    if (found === null) return undefined;
    const route: Route = found.store;
    return { route, params: found.params };
  }

  /** `/images/library/web:1/json` → `/images/library%2Fweb:1/json`. */
  #joinName(method: Method, path: string): string {
    const [, first = '', ...rest] = path.split('/');
    const endings = this.#afterName.get(`${method} ${first}`);
    if (endings === undefined || rest.length < 2) return path;
    const last = rest.at(-1) ?? '';
    if (last !== '' && endings.has(last)) return `/${first}/${rest.slice(0, -1).join('%2F')}/${last}`;
    return endings.has('') ? `/${first}/${rest.join('%2F')}` : path;
  }
}

function isMethod(method: string): method is Method {
  return ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].includes(method);
}
