import type { Call } from './call.ts';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';

/** One call of Docker's API. `path` and `operation` are spelled as in Docker's description of it. */
export interface Route {
  readonly method: Method;
  /** Without the version; `{id}` and `{name}` are read with `Call.param`. A `{name}` may hold slashes. */
  readonly path: string;
  readonly operation: string;
  /** Why the call is answered 501; absent where it is there. */
  readonly missing?: string;
  readonly handler: (call: Call) => void | Promise<void>;
}
