import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned, Write } from '#cluster/state/tables.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { conflict, invalid } from '#model/errors.ts';
import { isTerminal } from '#model/task.ts';
import { type ControlPorts, untilView } from './control-ports.ts';
import { findRecord, isGoing } from './find-record.ts';
import { type ClusterNetworkRequest, newNetwork } from './new-network.ts';
import type { RecordWriter } from './record-writer.ts';

/** How long the next network of a name waits for the last tasks on the one before: as long as most containers are given to end. */
const PATIENCE_MS = 30_000;

/** Networks that span the nodes, as Docker's API asks for them. */
export class NetworkControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  /**
   * Gives it a subnet of the swarm's pools where none is asked for, and the lowest VNI that is free. Waits, for a while, until a network
   * of the same name that was removed is gone: a stack is removed and deployed again in one go. `conflict` for a name or an ingress
   * network that is there, `forbidden` for a subnet that overlaps.
   */
  async create(request: ClusterNetworkRequest): Promise<ClusterNetworkRecord> {
    await this.#untilGone(request.Name);
    const id = this.#ports.random.id();
    const now = new Date(this.#ports.clock.nowMs()).toISOString();
    return await this.#writer.write((view) => {
      const taken =
        view.holderOf('network', request.Name) !== undefined ||
        this.#ports.localNetwork(request.Name) === request.Name;
      if (taken) throw conflict(`network with name ${request.Name} already exists`);
      const networks = [...view.all('network')];
      const ingress = networks.find((network) => network.Ingress && !isGoing(network));
      if (request.Ingress === true && ingress !== undefined)
        throw conflict(`ingress network (${ingress.ID}) is already present`);
      const [swarm] = view.all('swarm');
      const put = newNetwork(request, { id, now, swarm, networks });
      return { writes: [{ table: 'network', put }], result: put };
    });
  }

  async #untilGone(name: string): Promise<void> {
    const { view } = this.#ports.follower;
    if (!(await untilView(this.#ports, PATIENCE_MS, () => !isLeaving(view, name))))
      throw conflict(`network ${name} is still being removed: tasks of removed services are on it`);
  }

  list(): ClusterNetworkRecord[] {
    return [...this.#ports.follower.view.all('network')].filter((network) => !isGoing(network));
  }

  /** `not-found`, or the network by ID, name or the beginning of an ID. */
  inspect(reference: string): ClusterNetworkRecord {
    return findRecord(this.#ports.follower.view, 'network', reference);
  }

  /** By ID, also one that is being removed; undefined when it is gone. */
  versioned(id: string): Versioned<ClusterNetworkRecord> | undefined {
    return this.#ports.follower.view.versioned('network', id);
  }

  /** `invalid` while a service, its tasks or attached containers are on it. Tasks of removed services keep it until they have ended. */
  async remove(reference: string): Promise<void> {
    await this.#writer.write((view) => ({
      writes: [removal(view, findRecord(view, 'network', reference))],
      result: undefined,
    }));
  }

  /** Networks that nothing uses. */
  isUnused(network: ClusterNetworkRecord): boolean {
    const { view } = this.#ports.follower;
    if (network.Ingress || user(view, network) !== undefined) return false;
    if (attachmentOn(view, network) !== undefined) return false;
    return ![...view.all('task')].some((task) => isOn(task, network.ID));
  }
}

/** True for a name that belongs to a network which is on its way out. */
function isLeaving(view: ClusterView, name: string): boolean {
  return view.named('network', name)?.removing === true;
}

/** What removes a network that no service uses: at once, or with the last of the tasks that are still on it. */
export function removal(view: ClusterView, network: ClusterNetworkRecord): Write {
  const using = user(view, network);
  if (using !== undefined) {
    throw invalid(
      network.Ingress
        ? `ingress network cannot be removed because service ${using} depends on it`
        : `network ${network.ID} is in use by service ${using}`,
    );
  }
  const attached = attachmentOn(view, network);
  if (attached !== undefined)
    throw invalid(`network ${network.ID} is in use by task ${attached.ID}`, {
      hint: `Container ${attached.names[0]} on node ${attached.nodeId} is attached to it: remove it, or disconnect it first.`,
    });
  let lingering = false;
  for (const task of view.all('task')) {
    if (isTerminal(task.Status.State) || !isOn(task, network.ID)) continue;
    lingering = true;
    const service = view.get('service', task.ServiceID);
    if (service !== undefined && service.removing !== true && !network.Ingress)
      throw invalid(`network ${network.ID} is in use by task ${task.ID}`);
  }
  return lingering
    ? { table: 'network', put: { ...network, removing: true } }
    : { table: 'network', delete: network.ID };
}

/** A container that is on the network without being a task. */
function attachmentOn(view: ClusterView, { ID }: ClusterNetworkRecord): AttachmentRecord | undefined {
  return view.all('attachment').find(({ networkId }) => networkId === ID);
}

/** A service that needs the network, the one published in the routing mesh its ingress network. */
function user(view: ClusterView, network: ClusterNetworkRecord): string | undefined {
  for (const { ID, Spec, removing } of view.all('service')) {
    if (removing === true) continue;
    const published = (Spec.EndpointSpec?.Ports ?? []).some((port) => port.PublishMode !== 'host');
    const attached = (Spec.TaskTemplate.Networks ?? []).some(({ Target }) => Target === network.ID);
    if (network.Ingress ? published : attached) return ID;
  }
  return undefined;
}

function isOn(task: { networks: readonly { networkId: string }[] }, networkId: string): boolean {
  return task.networks.some((network) => network.networkId === networkId);
}
