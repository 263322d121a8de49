import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { runCommand } from '#engine/runtime/process-launcher.ts';
import { conflict, invalid, kindOf, unavailable } from '#model/errors.ts';
import { dataDirectory, type EtcdMemberOptions, newCluster } from './etcd-arguments.ts';
import { hasData } from './etcd-member.ts';

/**
 * Makes the data of a member out of a snapshot, as the first and only member of a new cluster that has everything the snapshot has, its
 * revisions included: `EtcdMember.open` starts it. Needs `etcdctl`, which is in Debian's etcd-client. `conflict` where the member has data,
 * `invalid` for a file that is no whole snapshot.
 */
export async function restoreSnapshot(o: EtcdMemberOptions, file: string): Promise<void> {
  if (hasData(o)) throw conflict(`there are data of an etcd member in ${o.directory} already`);
  mkdirSync(o.directory, { recursive: true, mode: 0o700 });
  const partial = `${dataDirectory(o)}.restoring`;
  rmSync(partial, { recursive: true, force: true });
  const { cluster, token } = newCluster(o);
  const { code, stderr } = await etcdctl([
    ...['snapshot', 'restore', file, '--data-dir', partial, '--name', o.name],
    ...['--initial-cluster', cluster, '--initial-cluster-token', token],
    ...['--initial-advertise-peer-urls', o.peerUrl],
  ]);
  if (code !== 0) {
    rmSync(partial, { recursive: true, force: true });
    throw invalid(`${file} cannot be restored: ${stderr.trim().slice(-1000)}`);
  }
  rmSync(dataDirectory(o), { recursive: true, force: true });
  renameSync(partial, dataDirectory(o));
}

async function etcdctl(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  try {
    return await runCommand('etcdctl', args);
  } catch (cause) {
    if (kindOf(cause) !== 'unavailable') throw cause;
    throw unavailable('a snapshot of etcd is restored by etcdctl, which is not installed', {
      hint: 'Install the package etcd-client.',
      cause,
    });
  }
}
