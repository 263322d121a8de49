import { Agent } from '#cluster/agent/agent.ts';
import { ATTACHMENTS_METHOD, attachmentsHandler } from '#cluster/attachments/attachment-protocol.ts';
import { type CheckedCredentials, checkCredentials } from '#cluster/ca/certificate-files.ts';
import { readOpenKey } from '#cluster/ca/key-file.ts';
import type { SealingKey } from '#cluster/ca/sealing.ts';
import type { ViewListener } from '#cluster/state/view-follower.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import { messageOf, unavailable } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import { shareImages } from './image-sharing.ts';
import { MANAGE_METHOD, manageHandler } from './manage-protocol.ts';
import { ManagerKey } from './manager-key.ts';
import type { ManagerRole } from './manager-role.ts';
import type { ManagerStore } from './manager-store.ts';
import { Managing } from './managing.ts';
import { serveCalls } from './node-calls.ts';
import { NodeCertificate } from './node-certificate.ts';
import { endTasks } from './node-leave.ts';
import type { NodeFiles, NodeMachine } from './node-machine.ts';
import { KeptNodeState, type NodeState } from './node-state.ts';
import { RoleFollower } from './role-follower.ts';

interface NodeParts {
  readonly machine: NodeMachine;
  readonly files: NodeFiles;
  readonly state: NodeState;
  readonly onChange: ViewListener;
  /** The managers', where it lies sealed on the disk. */
  readonly managerKey: SealingKey | undefined;
}

/**
 * A node's life in a cluster, from its being let in to its leaving or the daemon's end: its listener, its agent, its certificate, and
 * while it is a manager the manager's part. Changes of role come one after the other.
 */
export class RunningNode implements AsyncDisposable {
  readonly #machine: NodeMachine;
  readonly #ending = new AbortController();
  readonly #mutex = new KeyedMutex();
  readonly #transport: TlsTransport;
  readonly #state: KeptNodeState;
  readonly #certificate: NodeCertificate;
  readonly #managerKey: ManagerKey;
  readonly #managing: Managing;
  readonly #role: RoleFollower;
  #agent: Agent | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #hasHeardLeader = false;
  #refusal = '';
  #exchange: Disposable | undefined;
  #attaching: AsyncDisposable | undefined;

  private constructor({ machine, files, ...o }: NodeParts & { readonly credentials: CheckedCredentials }) {
    this.#machine = machine;
    this.#state = new KeptNodeState(files.state, o.state);
    const { signal } = this.#ending;
    this.#managerKey = new ManagerKey({ ...machine, path: files.keyPath, key: o.managerKey, signal });
    this.#transport = new TlsTransport({
      credentials: o.credentials,
      isAllowed: (nodeId, role) => this.manager?.isAllowed(nodeId, role) ?? true,
      clock: machine.clock,
      report: (error, where) => machine.report(`${where} failed`, { error: messageOf(error) }),
    });
    const inTurn = (work: () => Promise<void>): Promise<void> => this.#mutex.run('role', work);
    const common = { machine, transport: this.#transport, managerKey: this.#managerKey, inTurn, signal };
    this.#certificate = new NodeCertificate({
      ...{ ...machine, ...common, files: files.certificates, credentials: o.credentials },
      // itself last: who is no manager any more may not know it
      managers: () => this.#state.managers.reverse(),
      onManagerKeys: (keys) => {
        // who manages has it, and knows what it is sealed with at first hand
        if (this.#managing.parts === undefined) this.#managerKey.take(keys);
      },
    });
    const certificate = this.#certificate;
    this.#managing = new Managing({
      ...{ ...common, files, state: this.#state, onChange: o.onChange },
      credentials: () => certificate.credentials,
      heard: () => this.#agent?.heard,
    });
    const { role } = o.credentials.identity;
    this.#role = new RoleFollower({ ...machine, ...common, role, certificate, managing: this.#managing });
  }

  /**
   * Goes on with what the files say: as a worker, or as a manager on its store. `forbidden` for certificates that cannot be used,
   * `unavailable` where its address is taken.
   */
  static async start(
    o: NodeParts & {
      /** This manager goes on alone: the others are lost. */
      readonly forceNew?: boolean;
    },
  ): Promise<RunningNode> {
    const { certificates, keyPath } = o.files;
    const managerKey = o.managerKey ?? readOpenKey(keyPath);
    const found = certificates.read(managerKey);
    if (found === undefined) throw unavailable('the node has no certificate');
    const credentials = checkCredentials(found, o.machine.clock.nowMs());
    // one from before managers' keys were sealed
    if (credentials.identity.role === 'manager' && !certificates.isSealed)
      certificates.write(credentials, managerKey);
    const node = new RunningNode({ ...o, managerKey, credentials });
    try {
      await node.#start(o.forceNew === true);
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  get state(): NodeState {
    return this.#state.current;
  }

  get transport(): TlsTransport {
    return this.#transport;
  }

  /** True once a leader has answered. */
  get hasHeardLeader(): boolean {
    return this.#hasHeardLeader;
  }

  /** Why the managers do not take it for one of the cluster; empty while they do. */
  get refusal(): string {
    return this.#refusal;
  }

  /** Where it keeps the cluster; undefined while it is a worker. */
  get store(): ManagerStore | undefined {
    return this.#managing.parts?.store;
  }

  /** The managers' key; undefined where it is not here. */
  get managerKey(): SealingKey | undefined {
    return this.#managerKey.known;
  }

  /** Undefined while it is a worker. */
  get manager(): ManagerRole | undefined {
    return this.#managing.parts?.role;
  }

  /** Resolves when a node that joined as a manager is one. */
  async manageAsJoined(signal: AbortSignal): Promise<void> {
    while (this.manager === undefined) await this.#machine.clock.sleep(50, signal);
    await this.manager.ready(signal);
  }

  /** Undoes what makes it a node: leaves the managers where it can, ends all tasks. The files are the caller's to remove. */
  async leave(): Promise<void> {
    await this.#mutex.run('role', async () => {
      if (this.#managing.isManager) await this.#managing.end();
    });
    await this.#machine.attachments.leave();
    await this[Symbol.asyncDispose]();
    await endTasks(this.#machine, this.state);
  }

  /** Containers, etcd and what is in the kernel go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    this.#exchange?.[Symbol.dispose]();
    await this.#attaching?.[Symbol.asyncDispose]();
    await this.#running;
    const managed = this.#managing.release();
    await managed?.role[Symbol.asyncDispose]();
    await this.#transport[Symbol.asyncDispose]();
    await managed?.store[Symbol.asyncDispose]();
  }

  async #start(forceNew: boolean): Promise<void> {
    await this.#listen();
    if (this.state.store === 'etcd' && !forceNew && (await this.#managing.isDisowned())) {
      this.#role.waitForLeader();
      this.#machine.report('the managers went on without this one: its store is not started', {});
    } else if (this.#managing.isManager) await this.#managing.resume(forceNew);
    else if (this.#role.asked === 'manager') void this.#role.follow('manager');
    this.#exchange = shareImages({
      ...{ ...this.#machine, transport: this.#transport, managers: () => this.#state.managers },
      manager: () => this.manager,
    });
    this.#attachContainers();
    const agent = this.#makeAgent();
    this.#agent = agent;
    serveCalls(this.#transport, (managers) => {
      this.#state.change({ managers });
      agent.meet(this.#state.managers);
    });
    const { signal } = this.#ending;
    this.#running = Promise.all([agent.run(signal), this.#certificate.keep(signal)]);
  }

  async #listen(): Promise<void> {
    const { listenAddress } = this.state;
    const { host, port } = parseAddress(listenAddress);
    try {
      await this.#transport.listen(host, port);
    } catch (cause) {
      throw unavailable(`cannot listen on ${listenAddress}: ${messageOf(cause)}`, { cause });
    }
    this.#transport.serve(
      MANAGE_METHOD,
      manageHandler(() => this.#mutex.run('role', () => this.#managing.storeForAnother())),
    );
  }

  /** What nodes ask managers about their plain containers, and this one too. */
  #attachContainers(): void {
    const { clock, attachments } = this.#machine;
    const transport = this.#transport;
    transport.serve(
      ATTACHMENTS_METHOD,
      attachmentsHandler(() => this.manager?.control.attachments, clock),
    );
    this.#attaching = attachments.join({ transport, managers: () => this.#state.managers });
  }

  #makeAgent(): Agent {
    return new Agent({
      transport: this.#transport,
      ...this.#machine,
      address: this.state.dataPathAddress,
      managers: this.#state.managers,
      describe: async () => this.#certificate.described(await this.#machine.describe()),
      watchDescription: (onChange, until) => {
        this.#machine.watchDescription(onChange, until);
        this.#certificate.watch(onChange, until);
      },
      onSettings: ({ managers, role, roots }) => {
        if (roots !== undefined) this.#certificate.rootsAre(roots);
        this.#told(managers, role);
      },
      onRefused: (reason) => {
        this.#refusal = reason;
      },
      log: this.#machine.report,
    });
  }

  #told(managers: readonly string[], role: NodeRole): void {
    this.#hasHeardLeader = true;
    this.#refusal = '';
    if (managers.length > 0 && managers.join() !== this.state.managers.join())
      this.#state.change({ managers });
    this.#role.told(role);
  }
}
