import { chmodSync, mkdirSync, renameSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { invalid } from '#model/errors.ts';
import { cacheKey } from './build-cache.ts';
import type { BuildDirectory } from './build-filesystems.ts';
import { checkoutGit, isGitAddress, parseGitAddress, resolveGit } from './git-repository.ts';
import { downloadTo, nameInAddress } from './remote-files.ts';

/** Files that ADD fetches from elsewhere. */
export interface AddedFiles {
  /** What they are. */
  key: string;
  name: string;
  isDirectory: boolean;
  /** Archives among them are unpacked. */
  unpacks: boolean;
  /** The directory that they are in; fetched when it is asked for. */
  files: () => Promise<string>;
}

export function isRemoteSource(source: string): boolean {
  return /^https?:\/\//.test(source) || isGitAddress(source);
}

/** Finds out what an address holds. With a checksum nothing is fetched before it is needed. */
export async function fetchAddSource(
  source: string,
  o: {
    directory: BuildDirectory;
    signal: AbortSignal;
    epochNs: bigint | undefined;
    keepGitDirectory: boolean;
    unpack: boolean;
    checksum?: string;
  },
): Promise<AddedFiles> {
  if (isGitAddress(source)) return await gitSource(source, o);
  const checksum = checkedChecksum(o.checksum);
  const target = o.directory.path('data', 'added');
  mkdirSync(target, { mode: 0o755 });
  const fetchFile = async (name: string): Promise<{ digest: string; name: string }> => {
    const partial = join(target, '.partial');
    const fetched = await downloadTo(source, partial, {
      signal: o.signal,
      ...(checksum === undefined ? {} : { checksum }),
    });
    const own = name === '' ? fetched.name : name;
    if (own === '' || own.includes('/'))
      throw invalid(`cannot determine a file name for ${source}: end the destination with one`);
    renameSync(partial, join(target, own));
    chmodSync(join(target, own), 0o600);
    const modified = new Date(fetched.modifiedMs ?? Number((o.epochNs ?? 0n) / 1_000_000n));
    utimesSync(join(target, own), modified, modified);
    return { digest: fetched.digest, name: own };
  };
  const name = nameInAddress(source);
  if (checksum !== undefined && name !== '') {
    return {
      key: checksum,
      name,
      isDirectory: false,
      unpacks: o.unpack,
      files: async () => {
        await fetchFile(name);
        return target;
      },
    };
  }
  const fetched = await fetchFile(name);
  return {
    key: fetched.digest,
    name: fetched.name,
    isDirectory: false,
    unpacks: o.unpack,
    files: () => Promise.resolve(target),
  };
}

async function gitSource(
  source: string,
  o: { directory: BuildDirectory; signal: AbortSignal; keepGitDirectory: boolean; checksum?: string },
): Promise<AddedFiles> {
  const commit = await resolveGit(source, o.signal);
  if (o.checksum !== undefined && !commit.startsWith(o.checksum.replace(/^sha1:/, '')))
    throw invalid(`${source} is at commit ${commit}, not ${o.checksum}`);
  const { subdirectory } = parseGitAddress(source);
  return {
    key: cacheKey('git', commit, subdirectory, o.keepGitDirectory),
    name: '',
    isDirectory: true,
    unpacks: false,
    files: async () => {
      const target = o.directory.path('data', 'git');
      return await checkoutGit(source, target, {
        commit,
        keepGitDirectory: o.keepGitDirectory,
        signal: o.signal,
      });
    },
  };
}

function checkedChecksum(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (!/^sha256:[0-9a-f]{64}$/.test(text)) throw invalid(`invalid checksum digest format: ${text}`);
  return text;
}
