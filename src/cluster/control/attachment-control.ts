import { encryptionProblem } from '#cluster/scheduler/filters.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import { contains, parseAddress, parseSubnet, subnetSize, withoutPrefix } from '#engine/networks/ipv4.ts';
import { encryptedNetwork } from '#engine/networks/network-options.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { conflict, DroverError, forbidden, invalid, messageOf, unavailable } from '#model/errors.ts';
import { type ControlPorts, untilView } from './control-ports.ts';
import { findRecord } from './find-record.ts';
import type { RecordWriter } from './record-writer.ts';

/** Attachments of one node, whatever it says of itself. */
const MOST_OF_NODE = 1000;
/** The leader gives addresses in its next round; where nobody leads, one is elected in the meantime. */
const ADDRESS_LIMIT_MS = 10_000;
/** Of one transaction, which stores bound. */
const RELEASED_AT_ONCE = 50;

/** What a node asks for one of its containers. */
export interface AttachmentRequest {
  /** The network's ID, name or the beginning of its ID. */
  readonly network: string;
  readonly containerId: string;
  /** What the container is to be found by, its name first. */
  readonly names: readonly string[];
  /** Without a prefix length; any address where it is left out. */
  readonly address?: string | undefined;
}

/** Places of plain containers on networks of the cluster, for the nodes that these run on. */
export class AttachmentControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  /** True when somebody leads, who gives addresses. */
  get isReady(): boolean {
    return this.#ports.leader() !== undefined;
  }

  /** A network that containers may be put on by hand. `not-found`, or `forbidden` for one that is for tasks only. */
  find(reference: string): ClusterNetworkRecord {
    return attachable(this.#ports.follower.view, reference);
  }

  /**
   * Gives a container of a node its place, and resolves when that has its address; one that it has already stays, with the names of this
   * request. `conflict` for an address that is somebody else's, `forbidden` for a node that has too many places.
   */
  async attach(nodeId: string, request: AttachmentRequest): Promise<AttachmentRecord> {
    try {
      const id = this.#ports.random.id();
      const record = await this.#writer.write((view) => {
        const there = placeOf(view, nodeId, request);
        const put = { ...this.#wanted(view, nodeId, request, there), ID: there?.ID ?? id };
        const isSame = there !== undefined && JSON.stringify(there.names) === JSON.stringify(put.names);
        const writes: Write[] = isSame ? [] : [{ table: 'attachment', put }];
        return { writes, result: put };
      });
      return await this.#untilAllocated(record);
    } catch (error) {
      throw refused(request.network, error);
    }
  }

  /** Takes places of a node's containers away. Those that are gone, or another node's, are passed over. */
  async release(nodeId: string, ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += RELEASED_AT_ONCE) {
      const some = new Set(ids.slice(from, from + RELEASED_AT_ONCE));
      await this.#writer.write((view) => ({
        writes: view
          .attachmentsOnNode(nodeId)
          .filter(({ ID }) => some.has(ID))
          .map(({ ID }): Write => ({ table: 'attachment', delete: ID })),
        result: undefined,
      }));
    }
  }

  #wanted(
    view: ClusterView,
    nodeId: string,
    { network: reference, containerId, names, address }: AttachmentRequest,
    there: AttachmentRecord | undefined,
  ): AttachmentRecord {
    const network = attachable(view, reference);
    checkEncryption(view, nodeId, network);
    const now = new Date(this.#ports.clock.nowMs()).toISOString();
    if (address !== undefined) checkAddress(network, address);
    if (there !== undefined) return { ...there, UpdatedAt: now, names: [...names] };
    if (view.get('node', nodeId) === undefined) throw forbidden(`node ${nodeId} is not in this cluster`);
    checkCount(view, nodeId, network);
    return {
      ...{ ID: '', CreatedAt: now, UpdatedAt: now, nodeId, networkId: network.ID, containerId },
      ...{ names: [...names], address: '' },
      ...(address === undefined ? {} : { requested: address }),
    };
  }

  /** The record with its address; what gets none is taken back, and thrown. */
  async #untilAllocated(record: AttachmentRecord): Promise<AttachmentRecord> {
    const { follower } = this.#ports;
    const now = (): AttachmentRecord | undefined => follower.view.get('attachment', record.ID);
    await untilView(this.#ports, ADDRESS_LIMIT_MS, () => {
      const seen = now();
      return seen === undefined || seen.address !== '' || seen.refusal !== undefined;
    });
    const seen = now();
    if (seen !== undefined && seen.address !== '') return seen;
    await this.release(record.nodeId, [record.ID]);
    if (seen?.refusal !== undefined) throw conflict(seen.refusal);
    throw unavailable(
      seen === undefined ? 'it was taken back meanwhile' : 'no manager that leads gave an address in time',
    );
  }
}

/** What a container has there; another one than it asks for now is none. */
function placeOf(
  view: ClusterView,
  nodeId: string,
  { network: reference, containerId, address }: AttachmentRequest,
): AttachmentRecord | undefined {
  const { ID } = attachable(view, reference);
  return view
    .attachmentsOnNode(nodeId)
    .find(
      (each) =>
        each.networkId === ID &&
        each.containerId === containerId &&
        (address === undefined || [each.requested, withoutPrefix(each.address)].includes(address)),
    );
}

function attachable(view: ClusterView, reference: string): ClusterNetworkRecord {
  const network = findRecord(view, 'network', reference);
  if (!network.Attachable) throw forbidden(`network ${network.Name} not manually attachable`);
  return network;
}

/** No container is put on a network that its node cannot encrypt. */
function checkEncryption(view: ClusterView, nodeId: string, network: ClusterNetworkRecord): void {
  const problem = network.EncryptedOption ? encryptionProblem(view.get('node', nodeId)) : undefined;
  if (problem !== undefined) throw encryptedNetwork(network.Name, problem);
}

/** Docker's words for an address that the subnet does not have. */
function checkAddress({ IPAM }: ClusterNetworkRecord, address: string): void {
  const subnet = parseSubnet(IPAM.Config[0]?.Subnet ?? '');
  if (!contains(subnet, parseAddress(address)))
    throw invalid(`no configured subnet or ip-range contain the IP address ${address}`);
}

/** No node, whatever becomes of it, can take all addresses of a network, or fill the store. */
function checkCount(view: ClusterView, nodeId: string, network: ClusterNetworkRecord): void {
  const all = view.attachmentsOnNode(nodeId);
  if (all.length >= MOST_OF_NODE)
    throw forbidden(`a node has ${MOST_OF_NODE} attached containers at most`, {
      hint: 'Remove some of them, or make them services.',
    });
  const half = Math.max(1, Math.floor(subnetSize(parseSubnet(network.IPAM.Config[0]?.Subnet ?? '')) / 2) - 1);
  if (all.filter(({ networkId }) => networkId === network.ID).length >= half)
    throw forbidden(
      `the containers of one node get half of the addresses of network ${network.Name} at most: ${half}`,
      { hint: 'Make the network with a larger --subnet, or run the containers on several nodes.' },
    );
}

/** The words of Docker's clients know that a network could not be attached to, and in some cases why by the code. */
function refused(reference: string, error: unknown): DroverError {
  // what another manager may do better is said by who asks them
  if (!(error instanceof DroverError) || error.kind === 'unavailable') throw error;
  const { kind, hint } = error;
  const code = kind === 'forbidden' ? 'PermissionDenied' : kind === 'not-found' ? 'NotFound' : undefined;
  const reason = code === undefined ? messageOf(error) : `rpc error: code = ${code} desc = ${error.message}`;
  return new DroverError(kind, `Could not attach to network ${reference}: ${reason}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
