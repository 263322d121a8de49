import { Duplex } from 'node:stream';
import type { BuildRequest, ById, DialAgent } from '#build/build-request.ts';
import { kindOf } from '#model/errors.ts';
import type { ClientSession } from './client-session.ts';
import type { GrpcStream } from './grpc-client.ts';
import {
  BytesMessage,
  CredentialsRequest,
  CredentialsResponse,
  GetSecretResponse,
  IdRequest,
  Nothing,
} from './session-messages.ts';

const GET_SECRET = 'moby.buildkit.secrets.v1.Secrets/GetSecret';
const CHECK_AGENT = 'moby.sshforward.v1.SSH/CheckAgent';
const FORWARD_AGENT = 'moby.sshforward.v1.SSH/ForwardAgent';
const CREDENTIALS = 'moby.filesync.v1.Auth/Credentials';

/** What a client's session gives to the steps of its build. */
export function sessionSources(
  session: ClientSession,
  signal: AbortSignal,
): Pick<BuildRequest, 'secrets' | 'ssh' | 'credentials'> {
  const { client } = session;
  const secret = async (id: string): Promise<Buffer | undefined> => {
    try {
      const types = { request: IdRequest, answer: GetSecretResponse };
      const { data } = await client.call(GET_SECRET, types, { id }, { signal });
      return Buffer.from(data);
    } catch (error) {
      if (kindOf(error) === 'not-found') return undefined;
      throw error;
    }
  };
  const agent = async (id: string): Promise<DialAgent | undefined> => {
    try {
      await client.call(CHECK_AGENT, { request: IdRequest, answer: Nothing }, { id }, { signal });
    } catch (error) {
      // clients have no code of their own for an agent that was not given
      if (kindOf(error) === 'internal' || kindOf(error) === 'not-found') return undefined;
      throw error;
    }
    return () => dial(id);
  };
  const dial = (id: string): Duplex =>
    new AgentConnection(client.stream(FORWARD_AGENT, { metadata: { 'buildkit.ssh.id': id }, signal }));
  return {
    secrets: asked(session.serves(GET_SECRET), secret),
    ssh: asked(session.serves(CHECK_AGENT), agent),
    credentials: async (registry) => {
      if (!session.serves(CREDENTIALS)) return {};
      const types = { request: CredentialsRequest, answer: CredentialsResponse };
      const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
      const { username, secret } = await client.call(CREDENTIALS, types, { host }, { signal });
      if (secret === '') return {};
      // without a user it is a token that others are asked for with
      return username === '' ? { identitytoken: secret } : { username, password: secret };
    },
  };
}

/** Things that a client is asked for once each. */
function asked<T>(isServed: boolean, ask: (id: string) => Promise<T | undefined>): ById<T> {
  const known = new Map<string, Promise<T | undefined>>();
  return {
    size: isServed ? 1 : 0,
    keys: () => known.keys(),
    get: (id) => {
      if (!isServed) return undefined;
      const answer = known.get(id) ?? ask(id);
      known.set(id, answer);
      return answer;
    },
  };
}

/** A connection to an agent of a client's. */
class AgentConnection extends Duplex {
  readonly #stream: GrpcStream;
  readonly #received: AsyncGenerator<BytesMessage>;

  constructor(stream: GrpcStream) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    this.#received = stream.receive(BytesMessage);
  }

  override _read(): void {
    this.#received.next().then(
      ({ done, value }) => this.push(done === true ? null : value.data),
      (error: unknown) => this.destroy(error instanceof Error ? error : new Error(String(error))),
    );
  }

  override _write(data: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.#stream.send(BytesMessage, { data })) done();
    else this.#stream.drained().then(() => done(), done);
  }

  override _final(done: () => void): void {
    this.#stream.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream[Symbol.dispose]();
    done(error);
  }
}
