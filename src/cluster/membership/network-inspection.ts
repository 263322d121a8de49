import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { NetworkReasons, NodeNetworkCheck } from '#cluster/control/cluster-operator.ts';
import { noSuch } from '#cluster/control/control-errors.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';
import { whyUnreachable } from '#engine/networks/reachability.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import { forbidden, kindOf, messageOf } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeRecord } from '#model/node.ts';
import { isTerminal, type TaskRecord } from '#model/task.ts';

/** A manager asks a node about its networks: one request, one answer of sentences. */
const INSPECT_METHOD = 'inspect-networks';
const ANSWER_LIMIT_MS = 20_000;

/** A node's networks as an operator asks for them. */
export interface NetworkInspection {
  /** What the node was told last. */
  readonly plan: NetworkPlan;
  /** What differs from it in the kernel, a sentence each; with `heal` it is mended. */
  check(o: { heal: boolean }): Promise<string[]>;
  /** Why the node cannot encrypt, if it cannot. */
  readonly encryption: { readonly problem: string | undefined };
}

type Request =
  | { readonly kind: 'check'; readonly heal: boolean }
  | { readonly kind: 'why'; readonly from: string; readonly to: string; readonly downNodes: string[] };

const REQUEST: z.ZodType<Request> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('check'), heal: z.boolean() }),
  z.object({
    ...{ kind: z.literal('why'), from: z.string().max(300), to: z.string().max(300) },
    downNodes: z.array(z.string().max(64)).max(100_000),
  }),
]);

const ANSWER: z.ZodType<{ sentences: string[] }> = z.object({
  sentences: z.array(z.string().max(10_000)).max(100_000),
});

/** Answers managers about this node's networks. */
export function serveInspection(transport: Transport, networks: NetworkInspection): void {
  transport.serve(INSPECT_METHOD, async (channel, peer) => {
    if (peer?.role !== 'manager') throw forbidden('only managers ask about networks');
    const request = parseMessage(REQUEST, await firstMessage(channel), 'question about networks');
    const differences = await networks.check({ heal: request.kind === 'check' && request.heal });
    if (request.kind === 'check') return await channel.send({ sentences: differences });
    const encryptionProblem = networks.plan.networks.some(({ encrypted }) => encrypted)
      ? networks.encryption.problem
      : undefined;
    const facts = { downNodes: new Set(request.downNodes), differences, encryptionProblem };
    await channel.send({ sentences: whyUnreachable(networks.plan, facts, request.from, request.to) });
  });
}

interface Asking {
  readonly view: ClusterView;
  readonly transport: Transport;
  readonly signal: AbortSignal;
}

/** Asks every node, at once. One that is down or does not answer says so in its line. */
export async function checkNetworks(o: Asking & { heal: boolean }): Promise<NodeNetworkCheck[]> {
  const nodes = [...o.view.all('node')].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const request = { kind: 'check', heal: o.heal } as const;
  return await Promise.all(
    nodes.map(async (node) => {
      const { sentences: differences, problem } = await ask(o, node, request);
      return { nodeId: node.ID, name: nameOf(node), differences, problem };
    }),
  );
}

/**
 * Asks the nodes that `from` runs on why it cannot reach `to`, and those of `to` whether their networks are as planned. `not-found` where
 * `from` is no task or service that runs.
 */
export async function askWhy(o: Asking & { from: string; to: string }): Promise<NetworkReasons[]> {
  const { view } = o;
  const [from, to] = [resolve(view, o.from), resolve(view, o.to)];
  if (from.nodeIds.size === 0) throw noSuch('running task, service or attached container', o.from);
  const apart = reasonWithoutPath(o, from, to);
  if (apart !== undefined) return [{ nodeId: '', name: 'cluster', reasons: [apart], problem: undefined }];
  const downNodes = [...view.all('node')].flatMap(({ ID, Status }) => (Status.State === 'down' ? [ID] : []));
  const why = { kind: 'why', from: from.reference, to: to.reference, downNodes } as const;
  // a node knows what it is asked about by its ID
  const inWords = (text: string): string =>
    text.replaceAll(from.reference, o.from).replaceAll(to.reference, o.to);
  const sources = [...from.nodeIds].map(async (id) => {
    const answer = await askNode(o, id, why);
    return { ...answer, reasons: answer.reasons.map(inWords) };
  });
  const targets = [...to.nodeIds.difference(from.nodeIds)]
    .filter((id) => !downNodes.includes(id))
    .map((id) => askNode(o, id, { kind: 'check', heal: false }));
  return [
    ...(await Promise.all(sources)),
    ...(await Promise.all(targets)).filter(
      ({ reasons, problem }) => reasons.length > 0 || problem !== undefined,
    ),
  ];
}

/** Why there can be no path, whatever the nodes' networks are; undefined where there could be one, or `to` is only an address. */
function reasonWithoutPath(
  o: { readonly view: ClusterView; readonly from: string; readonly to: string },
  from: Resolved,
  to: Resolved,
): string | undefined {
  if (to.networkIds === undefined) return undefined;
  if (to.nodeIds.size === 0) return `${o.to} has no task that runs: drover service explain tells why`;
  if (from.networkIds === undefined || !from.networkIds.isDisjointFrom(to.networkIds)) return undefined;
  const names = (ids: ReadonlySet<string>): string =>
    [...ids].map((id) => o.view.get('network', id)?.Name ?? id).join(', ') || 'no network';
  return `${o.from} is on ${names(from.networkIds)} and ${o.to} on ${names(to.networkIds)}: they share no network (docker service update --network-add)`;
}

async function askNode(o: Asking, nodeId: string, request: Request): Promise<NetworkReasons> {
  const node = o.view.get('node', nodeId);
  if (node === undefined) return { nodeId, name: nodeId, reasons: [], problem: 'it was removed' };
  const { sentences: reasons, problem } = await ask(o, node, request);
  return { nodeId, name: nameOf(node), reasons, problem };
}

async function ask(
  o: Asking,
  node: NodeRecord,
  request: Request,
): Promise<{ sentences: string[]; problem: string | undefined }> {
  if (node.Status.State === 'down')
    return { sentences: [], problem: `it is down since ${node.Status.since}` };
  const signal = AbortSignal.any([o.signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]);
  try {
    const channel = await o.transport.open(node.address, INSPECT_METHOD, signal, node.ID);
    try {
      await channel.send(request);
      const { sentences } = parseMessage(ANSWER, await firstMessage(channel), 'answer about networks');
      return { sentences, problem: undefined };
    } finally {
      channel.close();
    }
  } catch (error) {
    if (o.signal.aborted) throw error;
    const problem =
      kindOf(error) === 'not-found' ? 'it is of a version that cannot be asked' : messageOf(error);
    return { sentences: [], problem };
  }
}

function nameOf(node: NodeRecord): string {
  return node.Description?.Hostname ?? node.ID;
}

interface Resolved {
  /** As a node's plan knows it. */
  readonly reference: string;
  /** Where it runs. */
  readonly nodeIds: ReadonlySet<string>;
  /** Networks that its tasks can be reached on; undefined where it is no task or service. */
  readonly networkIds?: ReadonlySet<string>;
}

/**
 * A service by name or ID; a task or its container by ID, their beginnings, or `service.slot`; an attached container by a name or its ID;
 * else as it is: a name or an address.
 */
export function resolve(view: ClusterView, reference: string): Resolved {
  const service = view.named('service', reference) ?? view.get('service', reference);
  if (service !== undefined)
    return { reference: service.ID, ...placesOf(view, [...view.tasksOfService(service.ID)]) };
  const running = [...view.all('task')].filter(
    (task) => task.NodeID !== '' && !isTerminal(task.Status.State),
  );
  const task = running.find((each) => isNamed(view, each, reference));
  if (task !== undefined) return { reference: task.ID, ...placesOf(view, [task]) };
  const atAddress = running.filter(({ networks }) =>
    networks.some(
      ({ address, aliases }) => withoutPrefix(address) === reference || aliases.includes(reference),
    ),
  );
  if (atAddress.length > 0) return { reference, nodeIds: nodesOf(atAddress) };
  const attached = [...view.all('attachment')].filter((each) => isAttachedAs(each, reference));
  const nodeIds = new Set(attached.map(({ nodeId }) => nodeId));
  const [container] = attached;
  if (container === undefined) return { reference, nodeIds };
  // its plan knows a container by each of its names
  return {
    ...{ reference: container.names[0] ?? reference, nodeIds },
    networkIds: new Set(attached.map(({ networkId }) => networkId)),
  };
}

/** An attached container by one of its names, its address, its ID or the beginning of that. */
function isAttachedAs({ names, address, containerId }: AttachmentRecord, reference: string): boolean {
  if (names.includes(reference) || withoutPrefix(address) === reference) return true;
  return reference.length >= SHORTEST_ID && containerId.startsWith(reference);
}

const SHORTEST_ID = 4;

function isNamed(
  view: ClusterView,
  { ID, ServiceID, Slot, NodeID, Status }: TaskRecord,
  reference: string,
): boolean {
  const service = view.get('service', ServiceID)?.Spec.Name ?? ServiceID;
  const name = `${service}.${Slot === 0 ? NodeID : Slot}`;
  if (reference === ID || reference === name || reference === `${name}.${ID}`) return true;
  const container = Status.ContainerStatus?.ContainerID ?? '';
  return reference.length >= SHORTEST_ID && (ID.startsWith(reference) || container.startsWith(reference));
}

function placesOf(view: ClusterView, tasks: readonly TaskRecord[]): Omit<Resolved, 'reference'> {
  const networkIds = new Set(
    tasks.filter(isWanted).flatMap(({ networks }) => networks.map((each) => each.networkId)),
  );
  // the routing mesh is no way from task to task
  for (const id of networkIds) if (view.get('network', id)?.Ingress === true) networkIds.delete(id);
  return { nodeIds: nodesOf(tasks), networkIds };
}

function nodesOf(tasks: Iterable<TaskRecord>): Set<string> {
  const ids = new Set<string>();
  for (const { NodeID, Status } of tasks) if (NodeID !== '' && !isTerminal(Status.State)) ids.add(NodeID);
  return ids;
}
