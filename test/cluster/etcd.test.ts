import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listMembers, memberHealth } from '#cluster/store/etcd-cluster.ts';
import { joinEtcd, leaveEtcd } from '#cluster/store/etcd-join.ts';
import { EtcdMember } from '#cluster/store/etcd-member.ts';
import { freeSpace, isSparse, keepSpace, keepSpaceOnce } from '#cluster/store/etcd-space.ts';
import type { EtcdStore } from '#cluster/store/etcd-store.ts';
import type { Change, Store } from '#cluster/store/store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { processStartTime } from '#linux/process-identity.ts';
import { kindOf } from '#model/errors.ts';
import { changesUntil, put, write } from '../contract/store-contract.ts';
import { eventually } from '../support/docker-host.ts';
import { EtcdMachines, limit } from '../support/etcd-machines.ts';

const isUnavailable = (error: unknown): boolean => kindOf(error) === 'unavailable';

/** Repeats a write until a quorum took it. */
async function putEventually(store: Store, key: string, value: string): Promise<void> {
  const until = limit();
  for (;;) {
    try {
      await put(store, key, value);
      return;
    } catch (error) {
      if (!isUnavailable(error) || until.aborted) throw error;
    }
  }
}

async function three(machines: EtcdMachines): Promise<EtcdMember[]> {
  const first = await machines.found('one');
  const members = [first];
  for (const name of ['two', 'three']) {
    const how = { through: first.client, signal: limit(), report: machines.report };
    members.push(machines.kept(await joinEtcd(await machines.machine(name), how)));
  }
  return members;
}

const keys = (changes: readonly Change[]): string[] =>
  changes.map((change) => (change.kind === 'put' ? change.entry.key : change.key));

test('a member outlives who started it, is adopted, and is started again when it dies', async () => {
  await using machines = new EtcdMachines();
  const first = await machines.found('one');
  using store = machines.store(['one']);
  await put(store, 'a', '1');
  const { pid } = first;
  await first[Symbol.asyncDispose]();
  assert.ok(processStartTime(pid));
  const options = await machines.machine('one');
  const second = machines.kept(await EtcdMember.open(options, { report: machines.report }));
  assert.equal(second.pid, pid);
  const revision = await put(store, 'b', '2');

  const watching = changesUntil(store.watch('', revision - 1, limit()), ({ length }) => length >= 2);
  process.kill(pid, 'SIGKILL');
  await second.ready(limit());
  await putEventually(store, 'c', '3');
  assert.deepEqual(keys(await watching).slice(0, 2), ['b', 'c']);
  assert.notEqual(second.pid, pid);
  assert.match(machines.reports.join('\n'), /starts again/);
  await second.stop();
  assert.equal(processStartTime(second.pid), undefined);
  await assert.rejects(put(store, 'd', '4'), isUnavailable);
  await assert.rejects(store.list(''), isUnavailable);
  // who lost his disk must not begin an empty cluster
  await second.remove();
  const lost = EtcdMember.open(options, { report: machines.report });
  await assert.rejects(lost, (error) => kindOf(error) === 'not-found');
});

test('killed in the middle of writes again and again, etcd keeps what it acknowledged, and a watch sees each once', async () => {
  await using machines = new EtcdMachines();
  const member = await machines.found('one');
  using store = machines.store(['one']);
  const { revision } = await store.list('');
  const seen: Change[] = [];
  const end = new AbortController();
  const watching = (async () => {
    for await (const batch of store.watch('k/', revision, end.signal)) {
      seen.push(...batch.changes);
      if (seen.some((change) => change.kind === 'put' && change.entry.key === 'k/last')) end.abort();
    }
  })();
  const acknowledged: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    await member.ready(limit());
    const { pid } = member;
    for (let index = 0; processStartTime(pid) !== undefined; index += 1) {
      if (index === 30) process.kill(pid, 'SIGKILL');
      const key = `k/${round}-${index}`;
      try {
        await put(store, key, '');
        acknowledged.push(key);
      } catch (error) {
        assert.ok(isUnavailable(error));
      }
    }
  }
  await member.ready(limit());
  await putEventually(store, 'k/last', '');
  await watching;
  const { entries } = await store.list('k/');
  const listed = new Set(entries.map(({ key }) => key));
  assert.ok(acknowledged.length >= 90);
  assert.deepEqual(
    acknowledged.filter((key) => !listed.has(key)),
    [],
  );
  const revisions = entries.map((entry) => entry.revision).sort((a, b) => a - b);
  assert.deepEqual(
    seen.map((change) => (change.kind === 'put' ? change.entry.revision : 0)),
    revisions,
  );
});

test('three members: one dies and a watch goes on; the quorum dies and the last one is made the only one', async () => {
  await using machines = new EtcdMachines();
  const members = await three(machines);
  const [first, second, third] = members;
  assert.ok(first && second && third);
  const names = ['one', 'two', 'three'];
  using store = machines.store(names);
  assert.deepEqual(
    (await memberHealth(store.client))
      .map(({ name, problem, isLearner }) => [name, problem, isLearner])
      .sort(),
    [...names].sort().map((name) => [name, undefined, false]),
  );
  const lease = await store.lease(20_000, limit());
  await store.commit(write({ puts: [{ key: 'leader', value: 'we', lease: lease.id }] }));
  const { revision } = await store.list('');
  const watching = changesUntil(store.watch('k/', revision, limit()), ({ length }) => length >= 20);
  for (let index = 0; index < 10; index += 1) await put(store, `k/${index}`, '');
  await first.stop();
  for (let index = 10; index < 20; index += 1) await putEventually(store, `k/${index}`, '');
  assert.deepEqual(
    keys(await watching).slice(0, 20),
    Array.from({ length: 20 }, (_, index) => `k/${index}`),
  );
  assert.equal(lease.lost.aborted, false);
  const health = await memberHealth(store.client);
  assert.deepEqual(
    health.filter(({ problem }) => problem !== undefined).map(({ name }) => name),
    ['one'],
  );

  await second.stop();
  using alone = machines.store(['three'], { timeoutMs: 1000 });
  await assert.rejects(put(alone, 'lost', ''), isUnavailable);
  await assert.rejects(alone.get('k/0'), isUnavailable);
  await third.stop();
  const how = { report: machines.report, signal: limit() };
  const revived = machines.kept(await EtcdMember.recover(await machines.machine('three'), how));
  assert.deepEqual(
    (await listMembers(revived.client)).map(({ name }) => name),
    ['three'],
  );
  assert.equal((await alone.list('k/')).entries.length, 20);
  await put(alone, 'found', '');
  // the flag is used once: what comes after is an ordinary member, which others can join
  await first.remove();
  await machines.machine('one');
  const again = { through: revived.client, signal: limit(), report: machines.report };
  machines.kept(await joinEtcd(await machines.machine('one'), again));
  using joined = machines.store(['one']);
  assert.ok(await joined.get('found'));
});

test('a member that is removed is gone, and its data are refused until they are removed too', async () => {
  await using machines = new EtcdMachines();
  const first = await machines.found('one');
  const options = await machines.machine('two');
  const how = { through: first.client, signal: limit(), report: machines.report };
  const second = machines.kept(await joinEtcd(options, how));
  await leaveEtcd(options.peerUrl, how);
  await leaveEtcd(options.peerUrl, how);
  await second.stop();
  await assert.rejects(joinEtcd(options, how), (error) => kindOf(error) === 'conflict');
  assert.deepEqual(
    (await listMembers(first.client)).map(({ name }) => name),
    ['one'],
  );
});

test('a watch on a member without a quorum throws, and so does one on no member', async () => {
  await using machines = new EtcdMachines();
  const first = await machines.found('one');
  const how = { through: first.client, signal: limit(), report: machines.report };
  const second = machines.kept(await joinEtcd(await machines.machine('two'), how));
  using store = machines.store(['one'], { watchPatienceMs: 500, timeoutMs: 500 });
  const revision = await put(store, 'a', '1');
  const changes: Change[] = [];
  const watching = (async () => {
    for await (const batch of store.watch('', revision - 1, limit())) changes.push(...batch.changes);
  })();
  const lost = assert.rejects(watching, isUnavailable);
  await put(store, 'b', '2');
  const lease = await store.lease(2000, limit());
  const leaseLost = new Promise((resolve) => lease.lost.addEventListener('abort', resolve));
  await second.stop();
  await lost;
  await leaseLost;
  assert.deepEqual(keys(changes), ['a', 'b']);
  await first.stop();
  const none = changesUntil(store.watch('', revision, limit()), () => true);
  await assert.rejects(none, isUnavailable);
});

test('a joining that was cut off goes on when it is repeated', async () => {
  await using machines = new EtcdMachines();
  const first = await machines.found('one');
  const options = await machines.machine('two');
  const request = { peerURLs: [options.peerUrl], isLearner: true };
  await first.client.call('cluster/member/add', request, { repeatable: false });
  const how = { through: first.client, signal: limit(), report: machines.report };
  machines.kept(await joinEtcd(options, how));
  const members = await listMembers(first.client);
  assert.deepEqual(members.map(({ name, isLearner }) => [name, isLearner]).sort(), [
    ['one', false],
    ['two', false],
  ]);
});

/** Puts a megabyte over and over. */
async function fill(store: EtcdStore, isEnough: () => Promise<boolean>): Promise<void> {
  const until = limit();
  while (!until.aborted && !(await isEnough())) await put(store, 'a', 'x'.repeat(1024 * 1024));
}

const QUOTA_BYTES = 16 * 1024 * 1024;

test('a cluster whose quota is used up refuses writes, and its leader frees what is history by itself', async () => {
  await using machines = new EtcdMachines();
  const options = { ...(await machines.machine('one')), quotaBytes: QUOTA_BYTES };
  const first = machines.kept(await EtcdMember.found(options, { report: machines.report }));
  await first.ready(limit());
  using store = machines.store(['one']);
  const full = fill(store, async () => false);
  await assert.rejects(full, (error) => isUnavailable(error) && /space exceeded/.test(String(error)));
  await assert.rejects(put(store, 'b', ''), isUnavailable);
  assert.ok(await store.get('a'));
  assert.match((await memberHealth(store.client))[0]?.problem ?? '', /NOSPACE/);
  const space = { client: first.client, quotaBytes: QUOTA_BYTES, report: machines.report };
  await keepSpaceOnce({ ...space, name: 'another' });
  await assert.rejects(put(store, 'b', ''), isUnavailable, 'who does not lead does nothing');
  const over = new AbortController();
  const clock = new ManualClock();
  const keeping = keepSpace({ ...space, name: 'one', clock, signal: over.signal });
  await clock.advance(60_000);
  await putEventually(store, 'b', '');
  over.abort();
  await keeping;
  assert.equal((await memberHealth(store.client))[0]?.problem, undefined);
});

test('a cluster that is full of what is kept says so, and can be written again so that something is removed', async () => {
  await using machines = new EtcdMachines();
  const options = { ...(await machines.machine('one')), quotaBytes: QUOTA_BYTES };
  const first = machines.kept(await EtcdMember.found(options, { report: machines.report }));
  await first.ready(limit());
  using store = machines.store(['one']);
  let count = 0;
  const keep = async (): Promise<void> => {
    for (; count < 100; count++) await put(store, `kept/${count}`, 'x'.repeat(1024 * 1024));
  };
  await assert.rejects(keep(), isUnavailable);
  const reports: string[] = [];
  const report = (message: string): void => void reports.push(message);
  // a file grows by 16 MiB at a time: the step that is too much may come with little in it
  const quotaBytes = QUOTA_BYTES / 8;
  await keepSpaceOnce({ client: first.client, name: 'one', quotaBytes, report });
  assert.deepEqual(reports, ['the store is full']);
  await freeSpace(first.client);
  await store.commit(write({ puts: [{ key: 'turn', value: '' }], deletes: ['kept/0', 'kept/1', 'kept/2'] }));
  await freeSpace(first.client);
  await put(store, 'kept/0', 'x'.repeat(1024 * 1024));
});

test('members whose files are mostly free give the space back, the leader last', async () => {
  await using machines = new EtcdMachines();
  const first = await machines.found('one');
  const how = { through: first.client, signal: limit(), report: machines.report };
  machines.kept(await joinEtcd(await machines.machine('two'), how));
  using store = machines.store(['one']);
  const bytes = async (): Promise<number[]> =>
    (await memberHealth(store.client)).map(({ databaseBytes }) => databaseBytes ?? 0);
  const large = QUOTA_BYTES / 2;
  await fill(store, async () => (await bytes()).every((size) => size > large));
  const members = await memberHealth(store.client);
  const leader = members.find(({ isLeader }) => isLeader)?.name ?? '';
  const reports: { nodeId?: string }[] = [];
  const report = (_message: string, details: object): void => void reports.push(details);
  const space = { client: first.client, name: leader, quotaBytes: QUOTA_BYTES, report };
  await keepSpaceOnce(space);
  assert.deepEqual(reports, [], 'what is used is left alone');
  const { revision } = await store.list('');
  await store.client.call(
    'kv/compaction',
    { revision: String(revision), physical: true },
    { repeatable: false },
  );
  const areSparse = async (): Promise<boolean> => {
    // what is free is counted when something is written
    await put(store, 'b', '');
    return (await memberHealth(store.client)).every((member) => isSparse(member, QUOTA_BYTES));
  };
  await eventually(areSparse, 'most of both files is free');
  await keepSpaceOnce(space);
  assert.deepEqual(
    reports.map(({ nodeId }) => nodeId),
    [leader === 'one' ? 'two' : 'one', leader],
  );
  assert.ok((await bytes()).every((size) => size < large / 2));
  assert.equal((await store.get('a'))?.value.length, 1024 * 1024);
});

test('a watch takes up more than one message can hold, and never a part of a commit', async () => {
  await using machines = new EtcdMachines();
  await machines.found('one');
  using store = machines.store(['one']);
  const { revision } = await store.list('');
  const large = 'x'.repeat(1_500_000);
  for (let round = 0; round < 10; round += 1)
    await store.commit(write({ puts: [1, 2, 3, 4].map((n) => ({ key: `${round}/${n}`, value: large })) }));
  let count = 0;
  for await (const batch of store.watch('', revision, limit())) {
    assert.equal(batch.changes.length % 4, 0);
    count += batch.changes.length;
    if (count === 40) break;
  }
  assert.equal(count, 40);
  assert.equal((await store.list('')).entries.length, 40);
});
