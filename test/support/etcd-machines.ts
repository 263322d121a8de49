import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ETCD_LIMITS, type EtcdMemberOptions, type EtcdTlsFiles } from '#cluster/store/etcd-arguments.ts';
import { EtcdMember } from '#cluster/store/etcd-member.ts';
import { EtcdProcess } from '#cluster/store/etcd-process.ts';
import { EtcdStore, type EtcdStoreOptions } from '#cluster/store/etcd-store.ts';
import { tlsOf } from '#cluster/store/etcd-tls.ts';
import { systemClock } from '#control/clock.ts';

/** Far beyond what an election takes on a busy machine. */
const READY_LIMIT_MS = 30_000;

export function limit(): AbortSignal {
  return AbortSignal.timeout(READY_LIMIT_MS);
}

/** Directories and loopback ports for members of etcd, as if each were a machine. Members that are still open end with it. */
export class EtcdMachines implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'drover-etcd-'));
  readonly reports: string[] = [];
  readonly #members = new Set<EtcdMember>();
  readonly #options = new Map<string, EtcdMemberOptions>();
  readonly #tls: EtcdTlsFiles | undefined;

  constructor(o: { tls?: EtcdTlsFiles } = {}) {
    this.#tls = o.tls;
  }

  report = (message: string): void => {
    this.reports.push(message);
  };

  async machine(name: string): Promise<EtcdMemberOptions> {
    const known = this.#options.get(name);
    if (known !== undefined) return known;
    const directory = join(this.directory, name);
    mkdirSync(directory);
    const scheme = this.#tls === undefined ? 'http' : 'https';
    const [client, peer] = await Promise.all([freePort(), freePort()]);
    const options: EtcdMemberOptions = {
      ...{ directory, name, heartbeatMs: 50, electionMs: 500 },
      ...{ clientUrl: `${scheme}://127.0.0.1:${client}`, peerUrl: `${scheme}://127.0.0.1:${peer}` },
      ...(this.#tls === undefined ? {} : { tls: this.#tls }),
    };
    this.#options.set(name, options);
    return options;
  }

  async found(name: string): Promise<EtcdMember> {
    const member = this.kept(await EtcdMember.found(await this.machine(name), { report: this.report }));
    await member.ready(limit());
    return member;
  }

  /** Ends with the machines; gives it back. */
  kept(member: EtcdMember): EtcdMember {
    this.#members.add(member);
    return member;
  }

  /** A store on the given machines. */
  store(names: readonly string[], o: Partial<EtcdStoreOptions> = {}): EtcdStore {
    const endpoints = names.map((name) => this.#options.get(name)?.clientUrl ?? '');
    const tls = this.#tls === undefined ? {} : { tls: tlsOf(this.#tls) };
    return new EtcdStore({ ...ETCD_LIMITS, endpoints, ...tls, ...o });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) await member[Symbol.asyncDispose]();
    const ended = AbortSignal.abort();
    for (const options of this.#options.values())
      await EtcdProcess.adopt(options, systemClock, ended)?.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
