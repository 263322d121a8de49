import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { EventBus } from '#engine/events/event-bus.ts';
import { emptyEndpoint } from '#engine/networks/endpoint-request.ts';
import { NetworkStore } from '#engine/networks/network-store.ts';
import { OverlayNetworks } from '#engine/networks/overlay-networks.ts';
import { RecordStore } from '#engine/records/record-store.ts';
import type { ContainerRecord } from '#model/container.ts';
import { messageOf } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';

/** What a test asks of a node. */
export type NodeCall =
  | { call: 'apply'; plan: NetworkPlan }
  | { call: 'join'; id: string; networks: Record<string, string>; publish?: Record<string, string> }
  | { call: 'leave'; id: string }
  | { call: 'check'; heal: boolean }
  | { call: 'resolvConf'; id: string }
  | { call: 'shown'; id: string }
  | { call: 'standing' }
  | { call: 'teardown' };

/** One node of a test: a program of its own, for it runs in a network namespace of its own. Calls and answers are lines of JSON. */
async function main(directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  using records = new RecordStore(join(directory, 'drover.db'));
  const log = pino({ level: 'warn' }, pino.destination(2));
  const networks = new NetworkStore({
    records,
    events: new EventBus(),
    bridge: 'docker0',
    bip: undefined,
    execRoot: directory,
    log,
  });
  await networks.start(records.list<ContainerRecord>('container'));
  const overlays = new OverlayNetworks({ records, networks, bridge: 'docker0', log });
  overlays.start();
  console.log(JSON.stringify({ value: 'ready' }));
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const value = await answer(JSON.parse(line) as NodeCall, { records, networks, overlays });
      console.log(JSON.stringify({ value: value ?? null }));
    } catch (error) {
      console.log(JSON.stringify({ error: messageOf(error) }));
    }
  }
  await overlays[Symbol.asyncDispose]();
  await networks.stop();
}

async function answer(
  call: NodeCall,
  node: { records: RecordStore; networks: NetworkStore; overlays: OverlayNetworks },
): Promise<unknown> {
  const { records, networks, overlays } = node;
  const container = (id: string): ContainerRecord => {
    const found = records.get<ContainerRecord>('container', id);
    if (found === undefined) throw new Error(`no container ${id}`);
    return found;
  };
  switch (call.call) {
    case 'apply':
      return overlays.apply(call.plan);
    case 'join': {
      const record = recordOf(call.id, call.networks, call.publish ?? {});
      const joined = networks.join(record);
      record.networks = joined.networks;
      record.ports = joined.ports;
      records.put('container', call.id, record);
      return joined;
    }
    case 'leave':
      networks.leave(container(call.id));
      return records.delete('container', call.id);
    case 'check':
      return overlays.check({ heal: call.heal });
    case 'resolvConf':
      return networks.resolvConf(container(call.id));
    case 'shown':
      return container(call.id).networks;
    case 'standing':
      return overlays.encryption.standing;
    case 'teardown':
      overlays.teardown();
      return networks.teardown();
  }
}

function recordOf(
  id: string,
  networks: Record<string, string>,
  publish: Record<string, string>,
): ContainerRecord {
  const bindings = Object.entries(publish).map(([port, HostPort]) => [port, [{ HostIp: '', HostPort }]]);
  const record = {
    id,
    name: id,
    config: { Hostname: id, Domainname: '', ExposedPorts: null },
    hostConfig: {
      Dns: [],
      DnsSearch: [],
      DnsOptions: [],
      PortBindings: Object.fromEntries(bindings),
      PublishAllPorts: false,
    },
    networks: Object.fromEntries(
      Object.entries(networks).map(([name, address]) => [
        name,
        { ...emptyEndpoint(), IPAMConfig: { IPv4Address: address } },
      ]),
    ),
    ports: {},
  };
  // Only what networks are made of.
  return record as unknown as ContainerRecord;
}

await main(process.argv[2] ?? '');
