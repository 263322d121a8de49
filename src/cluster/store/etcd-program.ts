import { runCommand } from '#engine/runtime/process-launcher.ts';
import { type DroverError, unavailable } from '#model/errors.ts';

/** Whether this machine has the program that managers share their store by. Starts it once, for its version. */
export async function hasEtcd(): Promise<boolean> {
  try {
    return (await runCommand('etcd', ['--version'])).code === 0;
  } catch {
    // it cannot be started, which is the answer
    return false;
  }
}

/** What is said where it is missing. */
export function noEtcd(where: string): DroverError {
  return unavailable(`several managers share an etcd, and ${where} has none`, {
    hint: 'Install it there (on Debian: apt-get install etcd-server; Drover starts it itself), or join as a worker.',
  });
}
