import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { setLinkUp } from '#linux/links.ts';
import { installPeers } from '../scripts/test-peers.ts';
import { LoadedCloud } from '../test/support/loaded-cloud.ts';
import { FAULTS, type Fault } from './fault-list.ts';
import { type FaultResult, faultTable, type IdleResult, idleTable, writeReadme } from './fault-report.ts';
import { pssBytes } from './process.ts';

const USAGE = `npm run bench:faults -- [--only NAME,NAME] [--format table|json] [--nodes N] [--idle-seconds N]
  [--logs DIRECTORY] [--write-readme]

Strikes a cluster of five nodes (or more), three of them managers, with one fault after the other while it serves, and prints what
was lost and how long it took. Wants to be root, in network and mount namespaces of its own.

  npm run bench:faults
  npm run bench:faults -- --only idle --nodes 50

The faults, beside \`idle\`, which measures a cluster that nobody changes: ${FAULTS.map(({ name }) => name).join(', ')}.
`;
const PEERS = join(import.meta.dirname, '..', '.cache', 'peers');
/** For so long it is looked on whether more is lost. */
const AFTERMATH_MS = 4000;
/** A request that was sent before may take so long to be counted. */
const COUNTING_MS = 3500;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      format: { type: 'string', default: 'table' },
      nodes: { type: 'string', default: '5' },
      'idle-seconds': { type: 'string', default: '60' },
      logs: { type: 'string' },
      'write-readme': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const nodes = Number(values.nodes);
  if (!Number.isInteger(nodes) || nodes < 5) {
    console.error('--nodes is a number, and five at least');
    return 2;
  }
  if (installPeers(PEERS) !== 0) return 1;
  process.env['PATH'] = `${process.env['PATH'] ?? ''}:${join(PEERS, 'usr/bin')}`;
  setLinkUp('lo');
  const chosen = values.only?.split(',');
  const faults = FAULTS.filter(({ name }) => chosen === undefined || chosen.includes(name));
  const results: FaultResult[] = [];
  const began = performance.now();
  await using cloud = await LoadedCloud.up({ replicas: 6, nodes });
  const upMs = performance.now() - began;
  const idle =
    chosen === undefined || chosen.includes('idle')
      ? await measureIdle(cloud, values['idle-seconds'])
      : undefined;
  for (const fault of faults) {
    const result = await strike(cloud, fault);
    results.push(result);
    if (values.logs !== undefined) cloud.copyLogs(join(values.logs, fault.name));
    console.error(faultTable([result]).split('\n').at(-1));
    for (const text of result.reasons) console.error(`    ${text}`);
    if (values.logs !== undefined) console.error(`    began ${result.beganAt}`);
  }
  if (values.format === 'json') console.log(JSON.stringify({ upMs, idle, faults: results }, undefined, 2));
  else {
    if (idle !== undefined) console.log(`${idleTable(idle)}\n`);
    if (results.length > 0) console.log(faultTable(results));
  }
  if (values['write-readme']) writeReadme(results, idle);
  return results.every(({ missed }) => missed.length === 0) ? 0 : 1;
}

function range(numbers: readonly number[]): string {
  return `${Math.min(...numbers)} to ${Math.max(...numbers)}`;
}

async function strike(cloud: LoadedCloud, fault: Fault): Promise<FaultResult> {
  const { name, title, goal = {} } = fault;
  let fromMs = Date.now();
  const result = { name, title, goal, beganAt: new Date(fromMs).toISOString() };
  try {
    await cloud.steady();
    fromMs = Date.now();
    result.beganAt = new Date(fromMs).toISOString();
    const outcome = await fault.strike(cloud);
    await delay(AFTERMATH_MS);
    const toMs = Date.now();
    await delay(COUNTING_MS);
    const { ports, vip } = cloud.load(fromMs, toMs);
    const failures = [...ports.failures, ...vip.failures];
    const groups = Map.groupBy(failures, ({ mode, url, reason }) => `${reason}, ${mode} connection, ${url}`);
    const missed = [
      ...(goal.failed !== undefined && failures.length > goal.failed ? ['failed requests'] : []),
      ...(goal.recoveredMs !== undefined && outcome.recoveredMs > goal.recoveredMs ? ['time'] : []),
    ];
    return {
      ...{ ...result, ...outcome, missed },
      ...{ failedPorts: ports.failures.length, requestsPorts: ports.requests },
      ...{ failedVip: vip.failures.length, requestsVip: vip.requests },
      ...{ repeated: ports.repeated + vip.repeated, unresolved: vip.unresolved },
      lastFailureMs: failures.length === 0 ? 0 : Math.max(...failures.map(({ atMs }) => atMs)) - fromMs,
      reasons: [...groups].map(([text, all]) => {
        const sent = range(all.map(({ atMs }) => Math.floor((atMs - fromMs) / 1000)));
        const failed = range(all.map(({ afterMs }) => Math.round(afterMs / 1000)));
        return `${all.length} × ${text}, sent in seconds ${sent}, after ${failed} s`;
      }),
    };
  } catch (error) {
    const { ports, vip } = cloud.load(fromMs, Date.now());
    const note = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
    console.error(error);
    return {
      ...{ ...result, recoveredMs: Number.POSITIVE_INFINITY, note, missed: ['recovery'] },
      ...{ failedPorts: ports.failures.length, requestsPorts: ports.requests },
      ...{ failedVip: vip.failures.length, requestsVip: vip.requests },
      ...{ repeated: ports.repeated + vip.repeated, unresolved: vip.unresolved },
      ...{ lastFailureMs: Date.now() - fromMs, reasons: [] },
    };
  } finally {
    await fault.undo?.(cloud);
    await delay(1000);
  }
}

/** What a cluster costs that nobody changes, though it serves: writes to the store, and memory. */
async function measureIdle(cloud: LoadedCloud, seconds: string): Promise<IdleResult> {
  await delay(3000);
  const before = await revision(cloud);
  await delay(Number(seconds) * 1000);
  const writes = (await revision(cloud)) - before;
  const pids = await cloud.daemonPids();
  return {
    seconds: Number(seconds),
    writes,
    daemons: pids.map(({ name, pid }) => ({ name, bytes: pssBytes(pid) })),
  };
}

/** Of etcd on the first node, which takes no request for it but from who has a certificate of the cluster. */
async function revision(cloud: LoadedCloud): Promise<number> {
  const { address } = cloud.nodes[0] ?? { address: '' };
  // as the node's own machine sees its files
  const data = '/run/drover/etcd/certificates/current';
  const answer: { header?: { revision?: number } }[] = JSON.parse(
    await cloud.cloud(
      ...[
        'exec',
        'c',
        'node1',
        '--',
        join(PEERS, 'usr/bin/etcdctl'),
        '--endpoints',
        `https://${address}:2379`,
      ],
      ...['--cacert', join(data, 'roots.crt'), '--cert', join(data, 'node.crt')],
      ...['--key', join(data, 'node.key'), 'endpoint', 'status', '-w', 'json'],
    ),
  ).map(({ Status }: { Status: { header?: { revision?: number } } }) => Status);
  return answer[0]?.header?.revision ?? 0;
}

process.exitCode = await main();
