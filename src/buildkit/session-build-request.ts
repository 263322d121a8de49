import type { BuildRequest } from '#build/build-request.ts';
import type { ClientSession } from './client-session.ts';
import { SessionFiles } from './session-files.ts';
import { sessionSources } from './session-sources.ts';
import type { SyncedTrees } from './synced-trees.ts';
import type { Uploads } from './uploads.ts';

/** Where a client with BuildKit in it has its context. */
export interface SessionBuild {
  /** `client-session`, `upload-request` or an address. */
  remote: string;
  buildId: string;
}

const INLINE_CACHE = 'BUILDKIT_INLINE_CACHE';

/** What Docker's call says, with the session's files, secrets, agents and credentials. */
export async function readSessionBuild(
  session: ClientSession,
  { trees, uploads }: { trees: SyncedTrees; uploads: Uploads },
  classic: BuildRequest,
  { remote, buildId }: SessionBuild,
  signal: AbortSignal,
): Promise<BuildRequest> {
  const { [INLINE_CACHE]: inline, ...buildArgs } = classic.buildArgs;
  const request: BuildRequest = {
    ...classic,
    ...sessionSources(session, signal),
    buildArgs,
    cacheTo: inline === '1' ? [{ type: 'inline', attributes: {} }] : [],
  };
  if (remote === 'upload-request')
    return { ...request, context: { kind: 'archive', stream: await uploads.take(buildId, signal) } };
  if (remote !== 'client-session' && remote !== '') return request;
  const files = new SessionFiles(session, trees);
  const { path } = classic.dockerfile;
  const { text, ignore } = await files.dockerfile('dockerfile', path, signal);
  return { ...request, dockerfile: { path, text }, context: files.context('context', ignore) };
}
