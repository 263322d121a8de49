import { z } from 'zod';
import type { BuildEvent, BuildRequest } from '#build/build-request.ts';
import { type FilesOutput, filesOutput, soleOutput } from '#buildkit/build-output.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { JsonStream } from './json-stream.ts';

const UPLOAD = 'upload-request';

const Outputs = z.array(z.object({ Type: z.string().min(1) }));

/** `POST /build?version=2`: clients with BuildKit in them, whose files and secrets are in a session of their own. */
export async function buildOfSession(call: Call, classic: () => BuildRequest): Promise<void> {
  const { query, signal } = call;
  const buildkit = await call.parts.buildkit();
  const buildId = query.get('buildid') ?? '';
  if (buildId.startsWith(`${UPLOAD}:`)) {
    await buildkit.uploads.give(buildId.slice(UPLOAD.length + 1), call.request, signal);
    call.empty(200);
    return;
  }
  // before anything is refused: a client that is answered before its session is up waits for it for ever
  const session = await buildkit.sessions.get(query.get('session') ?? '', signal);
  const output = outputOf(query.get('outputs'));
  const asked = classic();
  const stream = new JsonStream(call);
  const encode = buildkit.statusOf(buildId);
  const report = (event: BuildEvent): void =>
    stream.write({ id: 'moby.buildkit.trace', aux: encode(event).toString('base64') });
  try {
    const place = { remote: query.get('remote') ?? '', buildId };
    const request = await buildkit.sessionRequest(session, asked, place, signal);
    const { image } = await call.parts.builder.build(request, { report, signal });
    if (output !== undefined) await buildkit.sendFiles(session, image, output, signal);
    stream.write({ id: 'moby.image.id', aux: { ID: image.id } });
  } catch (error) {
    stream.fail(error);
    return;
  }
  stream.end();
}

/** Where the files are wanted; undefined for an image in the daemon. */
function outputOf(text: string | null): FilesOutput {
  if (text === null || text === '' || text === 'null') return undefined;
  let outputs: z.infer<typeof Outputs>;
  try {
    outputs = Outputs.parse(JSON.parse(text));
  } catch (cause) {
    throw invalid(`outputs is not as it should be: ${text}`, { cause });
  }
  return filesOutput(soleOutput(outputs)?.Type ?? 'image');
}
