import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import { runCommand } from '#engine/runtime/process-launcher.ts';
import { cancelled, invalid, kindOf, messageOf, notFound, unavailable } from '#model/errors.ts';

/** Whether an address means a git repository, as docker build takes it. */
export function isGitAddress(url: string): boolean {
  return (
    /^(git|ssh):\/\//.test(url) ||
    /^[\w.-]+@[\w.-]+:/.test(url) ||
    /^https?:\/\/[^#?]+\.git(#|$|\?)/.test(url) ||
    /^(https?:\/\/)?github\.com\/[^/]+\/[^/]+(#|$)/.test(url) ||
    /^file:\/\/[^#]+\.git(#|$)/.test(url)
  );
}

export function parseGitAddress(url: string): {
  repository: string;
  reference: string;
  subdirectory: string;
} {
  const [address = '', fragment = ''] = url.split('#');
  const [reference = '', subdirectory = ''] = fragment.split(':');
  const repository = /^github\.com\//.test(address) ? `https://${address}` : address;
  return { repository, reference, subdirectory };
}

/** The commit that a git address means now. */
export async function resolveGit(url: string, signal: AbortSignal): Promise<string> {
  const { repository, reference } = parseGitAddress(url);
  if (/^[0-9a-f]{40}$/.test(reference)) return reference;
  const wanted = reference === '' ? 'HEAD' : reference;
  const names = [wanted, `refs/heads/${wanted}`, `refs/tags/${wanted}^{}`];
  const { stdout } = await git(['ls-remote', '--', repository, ...names], signal);
  const lines = stdout.trim().split('\n').filter(Boolean);
  // A tag's own commit stands on the line with ^{}.
  const peeled = lines.find((line) => line.endsWith('^{}')) ?? lines[0];
  const commit = peeled?.split(/\s/)[0];
  if (commit === undefined || !/^[0-9a-f]{40}$/.test(commit))
    throw notFound(`${repository} has no branch, tag or commit ${wanted}`);
  return commit;
}

/**
 * Fetches a git address into a new directory, submodules too. Gives the directory that the address names: never one outside of
 * what was fetched, whatever links there are in it.
 */
export async function checkoutGit(
  url: string,
  target: string,
  o: { keepGitDirectory: boolean; commit?: string; signal: AbortSignal },
): Promise<string> {
  const { repository, reference, subdirectory } = parseGitAddress(url);
  mkdirSync(target, { recursive: true, mode: 0o755 });
  const commit = o.commit ?? (await resolveGit(url, o.signal));
  const inside = (...args: string[]): Promise<{ stdout: string }> => git(['-C', target, ...args], o.signal);
  await inside('init', '--quiet');
  await inside('remote', 'add', '--', 'origin', repository);
  const wanted = reference === '' || /^[0-9a-f]{40}$/.test(reference) ? commit : reference;
  try {
    await inside('fetch', '--quiet', '--depth=1', 'origin', commit);
  } catch (error) {
    if (kindOf(error) === 'cancelled') throw error;
    // Servers of old give out names only.
    await inside('fetch', '--quiet', '--tags', '--', 'origin', wanted);
  }
  await inside('checkout', '--quiet', commit);
  await inside('submodule', 'update', '--quiet', '--init', '--recursive', '--depth=1');
  if (!o.keepGitDirectory) rmSync(join(target, '.git'), { recursive: true, force: true });
  const directory = resolveInRoot(target, subdirectory);
  if (directory === undefined) throw notFound(`${subdirectory} is not in ${url}`);
  return directory;
}

async function git(args: readonly string[], signal: AbortSignal): Promise<{ stdout: string }> {
  // No hooks, and no address that is a command: what is fetched decides nothing. The machine's passwords are not the build's.
  const rules = ['core.hooksPath=/dev/null', 'protocol.ext.allow=never', 'credential.helper='];
  const safely = rules.flatMap((rule) => ['-c', rule]);
  let result: Awaited<ReturnType<typeof runCommand>>;
  try {
    result = await runCommand('git', [...safely, ...args], signal);
  } catch (cause) {
    if (signal.aborted) throw cancelled('the build was cancelled', { cause });
    throw unavailable(`git is needed for this build context: ${messageOf(cause)}`, {
      cause,
      hint: 'Install it with: apt-get install git',
    });
  }
  if (result.code !== 0)
    throw invalid(`git ${args.find((arg) => /^[a-z]/.test(arg)) ?? ''}: ${result.stderr.trim()}`);
  return { stdout: result.stdout };
}
