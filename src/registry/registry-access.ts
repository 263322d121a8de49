import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { compare } from 'bcryptjs';
import { jwtVerify, SignJWT } from 'jose';
import { invalid } from '#model/errors.ts';
import {
  type AccessRule,
  matchesPattern,
  type RegistryAction,
  type RegistryConfiguration,
} from './registry-configuration.ts';
import { RegistryProblem } from './registry-problem.ts';

/** What a token, or the lack of one, allows. */
export interface Identity {
  /** `anonymous` where nobody logged in. */
  user: string;
  allows(repository: string, action: RegistryAction): boolean;
}

interface Grant {
  type: string;
  name: string;
  actions: string[];
}

export const ANONYMOUS = 'anonymous';
const TOKEN_SECONDS = 300;
/** A password that was right stays so for this long: checking one takes a tenth of a second by design. */
const REMEMBERED_MS = 300_000;
const MOST_REMEMBERED = 10_000;
/** A hash that no password has, to spend the same time on users that are not there. */
const NOBODY = '$2b$10$CwTycUXWue0Thq9StjUM0uJ8dW9lG7b0CbyzYq2m6m5XKPqZ6Z9Fe';

/** Who may do what: htpasswd users, by HTTP Basic or by tokens of our own (Docker's token authentication), and rules. */
export class RegistryAccess {
  readonly #configuration: RegistryConfiguration;
  readonly #key: Uint8Array = randomBytes(32);
  readonly #remembered = new Map<string, number>();
  #users = new Map<string, string>();
  #readAt = '';

  constructor(configuration: RegistryConfiguration) {
    this.#configuration = configuration;
    this.#readUsers();
  }

  /** Who sent the request; `UNAUTHORIZED` where the credentials are wrong. */
  async identify(authorization: string | undefined): Promise<Identity> {
    const { method } = this.#configuration.auth;
    if (method === 'none')
      return {
        user: ANONYMOUS,
        allows: (repository, action) => this.#permits(ANONYMOUS, repository, action, true),
      };
    if (authorization === undefined) return this.#identity(ANONYMOUS);
    const [scheme = '', value = ''] = authorization.split(' ');
    if (scheme.toLowerCase() === 'basic') return this.#identity(await this.#checkBasic(value));
    if (scheme.toLowerCase() === 'bearer' && method === 'token') return await this.#checkToken(value);
    throw new RegistryProblem(
      'UNAUTHORIZED',
      'the credentials are of a kind that this registry does not know',
    );
  }

  /** The WWW-Authenticate header that tells a client how to get further. */
  challenge(o: { origin: string; scope: string | undefined; error?: string }): string {
    const { method, service } = this.#configuration.auth;
    if (method !== 'token') return `Basic realm="${service}"`;
    const scope = o.scope === undefined ? '' : `,scope="${o.scope}"`;
    const error = o.error === undefined ? '' : `,error="${o.error}"`;
    return `Bearer realm="${o.origin}/token",service="${service}"${scope}${error}`;
  }

  /** Answers a token request: what of the scopes asked for the user has. */
  async issueToken(o: { authorization: string | undefined; scopes: readonly string[] }): Promise<object> {
    const { service } = this.#configuration.auth;
    const identity =
      o.authorization === undefined
        ? this.#identity(ANONYMOUS)
        : this.#identity(await this.#checkBasic(o.authorization.split(' ')[1] ?? ''));
    const access = o.scopes.flatMap((scope): Grant[] => {
      const match = /^repository:(.+):([a-z,*]+)$/.exec(scope);
      if (match === null) return [];
      const [, name = '', asked = ''] = match;
      const wanted = asked === '*' ? ['pull', 'push', 'delete'] : asked.split(',');
      const actions = wanted.filter((action) => isAction(action) && identity.allows(name, action));
      return [{ type: 'repository', name, actions }];
    });
    const issuedAt = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ access })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setIssuer(service)
      .setAudience(service)
      .setSubject(identity.user)
      .setIssuedAt(issuedAt)
      .setNotBefore(issuedAt - 60)
      .setExpirationTime(issuedAt + TOKEN_SECONDS)
      .setJti(randomBytes(8).toString('hex'))
      .sign(this.#key);
    return {
      token,
      access_token: token,
      expires_in: TOKEN_SECONDS,
      issued_at: new Date(issuedAt * 1000).toISOString(),
    };
  }

  #identity(user: string): Identity {
    return {
      user,
      allows: (repository, action) => this.#permits(user, repository, action, user !== ANONYMOUS),
    };
  }

  /** Without rules, whoever logged in may do everything. */
  #permits(user: string, repository: string, action: RegistryAction, byDefault: boolean): boolean {
    const { access } = this.#configuration;
    if (access.length === 0) return byDefault;
    const rule = access.find(
      (each) => names(each, user) && each.repositories.some((pattern) => matchesPattern(repository, pattern)),
    );
    return rule?.actions.includes(action) ?? false;
  }

  async #checkBasic(value: string): Promise<string> {
    this.#readUsers();
    const text = Buffer.from(value, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    const user = text.slice(0, Math.max(0, colon));
    const hash = this.#users.get(user);
    const key = createHmac('sha256', this.#key)
      .update(`${text}\0${hash ?? ''}`)
      .digest('base64');
    const until = this.#remembered.get(key) ?? 0;
    if (until > Date.now()) return user;
    const isRight = await compare(text.slice(colon + 1), hash ?? NOBODY);
    if (!isRight || hash === undefined || colon < 1)
      throw new RegistryProblem('UNAUTHORIZED', 'incorrect username or password');
    if (this.#remembered.size > MOST_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(key, Date.now() + REMEMBERED_MS);
    return user;
  }

  async #checkToken(token: string): Promise<Identity> {
    const { service } = this.#configuration.auth;
    try {
      const { payload } = await jwtVerify(token, this.#key, { issuer: service, audience: service });
      const granted: unknown = payload['access'];
      const grants = Array.isArray(granted) ? granted.filter(isGrant) : [];
      return {
        user: payload.sub ?? ANONYMOUS,
        allows: (repository, action) =>
          grants.some(({ name, actions }) => name === repository && actions.includes(action)),
      };
    } catch (cause) {
      throw new RegistryProblem('UNAUTHORIZED', 'the token is not valid', { cause });
    }
  }

  /** Again where the file has changed. */
  #readUsers(): void {
    const file = this.#configuration.auth.htpasswd;
    if (file === undefined) return;
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) throw invalid(`the registry's htpasswd file ${file} is not there`);
    const state = `${stats.mtimeMs}:${stats.size}`;
    if (state === this.#readAt) return;
    this.#users = parseHtpasswd(readFileSync(file, 'utf8'), file);
    this.#readAt = state;
  }
}

function names(rule: AccessRule, user: string): boolean {
  return rule.users.includes(user) || (rule.users.includes('*') && user !== ANONYMOUS);
}

function isAction(text: string): text is RegistryAction {
  return text === 'pull' || text === 'push' || text === 'delete';
}

function isGrant(value: unknown): value is Grant {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    typeof value.name === 'string' &&
    'actions' in value &&
    Array.isArray(value.actions)
  );
}

/** `user:hash` lines as htpasswd -B writes them; other hashes than bcrypt are refused by name. */
export function parseHtpasswd(text: string, file: string): Map<string, string> {
  const users = new Map<string, string>();
  for (const [index, line] of text.split('\n').entries()) {
    const entry = line.trim();
    if (entry === '' || entry.startsWith('#')) continue;
    const colon = entry.indexOf(':');
    const hash = entry.slice(colon + 1);
    if (colon < 1 || !/^\$2[aby]?\$\d\d\$/.test(hash))
      throw invalid(`${file}, line ${index + 1}: only bcrypt hashes are supported, which htpasswd -B makes`);
    users.set(entry.slice(0, colon), hash);
  }
  return users;
}

/** What two secrets are compared by, in a time that does not tell how far they agree. */
export function secretDigest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
