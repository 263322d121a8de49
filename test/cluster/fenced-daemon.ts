import { assignedTask } from '#cluster/agent/task-builder.ts';
import { TaskEngineFixture } from './task-engine-fixture.ts';

/**
 * A daemon to be killed: takes over the roots given as arguments, starts a single writer and an ordinary task, says which processes
 * they are, and renews the lease for ever.
 */
const LEASE_MS = 3000;
const [, , dataRoot = '', execRoot = ''] = process.argv;
const { fence, tasks } = await TaskEngineFixture.takeOver({ dataRoot, execRoot, bridge: 'dvc6' });
await fence.renew(LEASE_MS);
setInterval(() => void fence.renew(LEASE_MS), LEASE_MS / 10);
const pids: number[] = [];
for (const singleWriter of [true, false]) {
  const id = singleWriter ? 'writer' : 'ordinary';
  const task = assignedTask({ id, singleWriter, container: { Command: ['sleep', '1000'] } });
  await tasks.prepare(task, new AbortController().signal);
  pids.push((await tasks.start(task)).status.PID);
}
process.stdout.write(`${JSON.stringify(pids)}\n`);
