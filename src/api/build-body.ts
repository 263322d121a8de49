import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { z } from 'zod';
import type { BuildRequest, ContextSource } from '#build/build-request.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { readBody, textMap } from './request-body.ts';

/** A directory of the client's, told by more than its path: the same path may be another place for the daemon. */
const Place = z.object({ path: z.string(), dev: z.number(), ino: z.number() });

const Source = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('directory'), place: Place }),
  z.object({ kind: z.literal('remote'), url: z.string() }),
  z.object({ kind: z.literal('image'), reference: z.string() }),
  z.object({ kind: z.literal('empty') }),
]);

const CacheReference = z.object({ type: z.enum(['registry', 'local', 'inline']), attributes: textMap });

/** What `drover build` sends: everything that Docker's call has no words for, and no archive where both share a file system. */
const BuildBody = z.object({
  context: Source,
  contexts: z.record(z.string(), Source).default({}),
  dockerfile: z.object({ path: z.string(), text: z.string().optional() }),
  tags: z.array(z.string()).default([]),
  target: z.string().optional(),
  buildArgs: textMap.default({}),
  labels: textMap.default({}),
  annotations: textMap.default({}),
  platform: z.string().optional(),
  noCache: z.boolean().default(false),
  noCacheStages: z.array(z.string()).default([]),
  pull: z.boolean().default(false),
  network: z.string().default('default'),
  /** Base 64. */
  secrets: textMap.default({}),
  ssh: textMap.default({}),
  cacheFrom: z.array(CacheReference).default([]),
  cacheTo: z.array(CacheReference).default([]),
  extraHosts: z.array(z.string()).default([]),
  entitlements: z.array(z.string()).default([]),
  memory: z.number().optional(),
  shmSize: z.number().optional(),
  provenance: z.boolean().default(false),
  sbom: z.boolean().default(false),
});

/** The request that a body of `drover build` asks for. */
export async function readBuildRequest(
  call: Call,
  credentials: BuildRequest['credentials'],
): Promise<BuildRequest> {
  const body: z.infer<typeof BuildBody> = await readBody(call, BuildBody);
  const { context, contexts, secrets, ssh, target, platform, memory, shmSize, dockerfile, ...rest } = body;
  return {
    ...rest,
    context: contextSource(context),
    contexts: Object.fromEntries(Object.entries(contexts).map(([name, each]) => [name, contextSource(each)])),
    dockerfile: {
      path: dockerfile.path,
      ...(dockerfile.text === undefined ? {} : { text: dockerfile.text }),
    },
    ...(target === undefined ? {} : { target }),
    ...(platform === undefined ? {} : { platform }),
    secrets: new Map(Object.entries(secrets).map(([id, data]) => [id, Buffer.from(data, 'base64')])),
    ssh: new Map(Object.entries(ssh).map(([id, path]) => [id, () => connect({ path, allowHalfOpen: true })])),
    limits: {
      ...(memory === undefined ? {} : { memory }),
      ...(shmSize === undefined ? {} : { shmSize }),
    },
    credentials,
  };
}

function contextSource(source: z.infer<typeof Source>): ContextSource {
  if (source.kind !== 'directory') return source;
  const { path, dev, ino } = source.place;
  const here = statSync(path, { throwIfNoEntry: false });
  if (here === undefined || here.dev !== dev || here.ino !== ino)
    throw invalid(`${path} is another directory for the daemon than for this command`, {
      hint: 'Send it instead: tar -C DIRECTORY -c . | docker build -',
    });
  return { kind: 'directory', path };
}
