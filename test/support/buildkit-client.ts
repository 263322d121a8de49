import { request } from 'node:http';
import type { Http2Session, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  type GatewayResult,
  GatewaySolveRequest,
  GatewaySolveResponse,
  ListWorkersResponse,
  PongResponse,
  ReturnRequest,
  SolveRequest,
  SolveResponse,
  StatusRequest,
  StatusResponse,
  type WorkerRecord,
} from '#buildkit/control-messages.ts';
import { goModeOf } from '#buildkit/go-file-mode.ts';
import { GrpcClient } from '#buildkit/grpc-client.ts';
import { messagesOf } from '#buildkit/grpc-frames.ts';
import { type CallContext, type GrpcMethod, serveGrpc } from '#buildkit/grpc-server.ts';
import type { Message } from '#buildkit/protobuf.ts';
import { type FileStat, Nothing, PACKET, Packet } from '#buildkit/session-messages.ts';

const never = new AbortController().signal;
const DIFF_COPY = 'moby.filesync.v1.FileSync/DiffCopy';
const CONTROL = 'moby.buildkit.v1.Control';
const GATEWAY = 'moby.buildkit.v1.frontend.LLBBridge';

/** A file as a session sends it; content of a regular one. */
export interface SentFile extends Partial<FileStat> {
  content?: string;
}

export function regular(path: string, content: string, o: SentFile = {}): SentFile {
  return { path, mode: goModeOf(0o100644), size: content.length, modTime: 1e18, content, ...o };
}

/** A client of BuildKit's protocol over a daemon's socket, for what real clients do not do. */
export class BuildkitClient implements Disposable {
  readonly session: string;
  readonly #control: GrpcClient;
  readonly #served: Http2Session;

  private constructor(session: string, control: GrpcClient, served: Http2Session) {
    this.session = session;
    this.#control = control;
    this.#served = served;
  }

  /** `serve` are the files' methods of the session, by name; see {@link sending}. */
  static async open(
    socketPath: string,
    session: string,
    serve: GrpcMethod,
    o: { sharedKey?: string } = {},
  ): Promise<BuildkitClient> {
    const sessionSocket = await upgraded(socketPath, '/session', {
      'X-Docker-Expose-Session-Uuid': session,
      'X-Docker-Expose-Session-Sharedkey': o.sharedKey ?? '',
      'X-Docker-Expose-Session-Grpc-Method': [`/${DIFF_COPY}`],
    });
    const served = serveGrpc(sessionSocket, new Map([[DIFF_COPY, serve]]));
    const control = new GrpcClient(await upgraded(socketPath, '/grpc', {}));
    return new BuildkitClient(session, control, served);
  }

  [Symbol.dispose](): void {
    this.#control[Symbol.dispose]();
    this.#served.destroy();
  }

  /** Ends the session alone. */
  leave(): void {
    this.#served.destroy();
  }

  async solve(asked: Partial<SolveRequest>, signal: AbortSignal = never): Promise<Record<string, string>> {
    const types = { request: SolveRequest, answer: SolveResponse };
    const request = { session: this.session, frontend: 'dockerfile.v0', ...asked };
    const { exporterResponse } = await this.#control.call(`${CONTROL}/Solve`, types, request, { signal });
    return exporterResponse;
  }

  async *status(ref: string): AsyncGenerator<StatusResponse> {
    using stream = this.#control.stream(`${CONTROL}/Status`, { signal: never });
    stream.send(StatusRequest, { ref });
    stream.end();
    yield* stream.receive(StatusResponse);
  }

  async workers(): Promise<{ record: Partial<WorkerRecord>[] }> {
    const types = { request: Nothing, answer: ListWorkersResponse };
    return await this.#control.call(`${CONTROL}/ListWorkers`, types, {}, { signal: never });
  }

  async ping(ref: string): Promise<PongResponse> {
    return await this.#gateway(ref, 'Ping', { request: Nothing, answer: PongResponse }, {});
  }

  async gatewaySolve(
    ref: string,
    asked: Partial<GatewaySolveRequest>,
  ): Promise<{ result: Partial<GatewayResult> | undefined }> {
    const types = { request: GatewaySolveRequest, answer: GatewaySolveResponse };
    return await this.#gateway(ref, 'Solve', types, { frontend: 'dockerfile.v0', ...asked });
  }

  async gatewayReturn(ref: string, asked: Partial<ReturnRequest>): Promise<void> {
    await this.#gateway(ref, 'Return', { request: ReturnRequest, answer: Nothing }, asked);
  }

  async #gateway<Q, A>(
    ref: string,
    method: string,
    types: { request: Message<Q>; answer: Message<A> },
    asked: Partial<Q>,
  ): Promise<A> {
    const metadata = { 'buildkit-controlapi-buildid': ref };
    return await this.#control.call(`${GATEWAY}/${method}`, types, asked, { metadata, signal: never });
  }
}

/** Sends packets as they are, and nothing else. */
export function sendingPackets(packets: () => Iterable<Partial<Packet>>): GrpcMethod {
  return async function* () {
    for (const packet of packets()) yield Packet.encode(packet);
  };
}

/** Sends files as fsutil does: the list, and the content of those that are asked for; `asked` hears of each. */
export function sending(
  files: (directory: string, followed: readonly string[]) => readonly SentFile[],
  asked: (path: string) => void = () => undefined,
): GrpcMethod {
  return async function* (stream: ServerHttp2Stream, context: CallContext) {
    const followed = context.header('followpaths')?.split(', ') ?? [];
    const listed = files(context.header('dir-name') ?? '', followed).filter(
      ({ path = '' }) => followed.length === 0 || followed.includes(path),
    );
    for (const { content: _, ...stat } of listed) yield Packet.encode({ type: PACKET.stat, stat });
    yield Packet.encode({ type: PACKET.stat });
    for await (const packet of messagesOf(stream, Packet)) {
      if (packet.type === PACKET.end) {
        yield Packet.encode({ type: PACKET.end });
        return;
      }
      const { path = '', content = '' } = listed[packet.id] ?? {};
      asked(path);
      const data = Buffer.from(content);
      if (data.length > 0) yield Packet.encode({ type: PACKET.data, id: packet.id, data });
      yield Packet.encode({ type: PACKET.data, id: packet.id });
    }
  };
}

async function upgraded(
  socketPath: string,
  path: string,
  headers: Record<string, string | string[]>,
): Promise<Duplex> {
  const call = request({
    socketPath,
    path,
    method: 'POST',
    headers: { Connection: 'Upgrade', Upgrade: 'h2c', ...headers },
  });
  call.end();
  return await new Promise<Duplex>((resolve, reject) => {
    call.once('error', reject).once('upgrade', (_response, socket, head) => {
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
  });
}
