import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseByteSize } from '#model/byte-size.ts';
import { DroverError, invalid } from '#model/errors.ts';
import type { BuildRecipe } from '#model/image.ts';
import type { ApiClient } from './api-client.ts';
import { makeBuildView, type WireBuildEvent } from './build-view.ts';
import { registryConfigHeader } from './registry-credentials.ts';

// Node's way of importing it would load its streams and promises as well.
const {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} = process.getBuiltinModule('node:fs');

/** `drover build`'s flags, as the command line gives them. */
export interface BuildFlags {
  file?: string;
  tag: string[];
  target?: string;
  buildArg: string[];
  buildContext: string[];
  label: string[];
  annotation: string[];
  platform?: string;
  cache: boolean;
  noCacheFilter: string[];
  pull: boolean;
  push: boolean;
  network: string;
  secret: string[];
  ssh: string[];
  cacheFrom: string[];
  cacheTo: string[];
  addHost: string[];
  allow: string[];
  memory?: string;
  shmSize?: string;
  output: string[];
  progress: string;
  quiet: boolean;
  iidfile?: string;
  metadataFile?: string;
  provenance: boolean;
  sbom: boolean;
}

interface BuildResult {
  id: string;
  tags: string[];
  manifestDigest: string;
}

/** Builds, and puts the result where it is wanted. */
export async function build(client: ApiClient, context: string, o: BuildFlags): Promise<void> {
  using scratch = new Scratch();
  const outputs = o.output.map(parseOutput);
  const body = await requestBody(context, o, scratch);
  const result = await run(client, body, o);
  const isKept = outputs.length === 0 || outputs.some(({ type }) => type === 'image' || type === 'registry');
  for (const output of outputs) await writeOutput(client, result, output);
  if (!isKept) await dropImage(client, result);
  if (o.push || outputs.some(({ type, attributes }) => type === 'registry' || attributes['push'] === 'true'))
    await pushAll(client, result.tags);
  if (o.iidfile !== undefined) writeFileSync(o.iidfile, result.id);
  if (o.metadataFile !== undefined)
    writeFileSync(
      o.metadataFile,
      `${JSON.stringify(
        {
          'containerimage.config.digest': result.id,
          'containerimage.digest': result.manifestDigest,
          'image.name': result.tags.join(','),
        },
        undefined,
        2,
      )}\n`,
    );
  if (o.quiet) console.log(result.id);
  else if (isKept) {
    console.error(`Built ${result.id.slice(0, 19)}`);
    for (const tag of result.tags) console.error(`Tagged ${tag}`);
  }
}

async function pushAll(client: ApiClient, tags: readonly string[]): Promise<void> {
  const { push } = await import('./image-transfer.ts');
  for (const tag of tags) await push(client, tag);
}

/** Builds an image again as it was built before, under the same names; gives its ID. */
export async function rebuild(
  client: ApiClient,
  recipe: BuildRecipe,
  tags: readonly string[],
): Promise<string> {
  const { context, dockerfile, ...rest } = recipe;
  const body = { ...rest, context: place(context), dockerfile: { path: dockerfile }, tags };
  const { id } = await run(client, body, { quiet: false, progress: 'auto' });
  return id;
}

async function run(
  client: ApiClient,
  body: object,
  o: Pick<BuildFlags, 'quiet' | 'progress'>,
): Promise<BuildResult> {
  using view = makeBuildView(o.quiet ? 'quiet' : o.progress);
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop);
  let result: BuildResult | undefined;
  try {
    for await (const raw of client.post('/build', body, {
      headers: registryConfigHeader(),
      signal: stopping.signal,
    })) {
      const line = raw as { event?: WireBuildEvent; result?: BuildResult; error?: string };
      if (line.error !== undefined) {
        view.finish({ failed: true });
        throw new DroverError('conflict', line.error);
      }
      if (line.event !== undefined) view.add(line.event);
      result = line.result ?? result;
    }
  } catch (error) {
    if (stopping.signal.aborted)
      throw new DroverError('cancelled', 'the build was cancelled', { cause: error });
    throw error;
  } finally {
    process.off('SIGINT', stop);
  }
  if (result === undefined) throw new DroverError('unavailable', 'the daemon broke the build off');
  view.finish({ failed: false });
  return result;
}

/** Files for the time of one build. */
class Scratch implements Disposable {
  #directory: string | undefined;

  get path(): string {
    this.#directory ??= mkdtempSync(join(tmpdir(), 'drover-build-'));
    return this.#directory;
  }

  [Symbol.dispose](): void {
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function requestBody(context: string, o: BuildFlags, scratch: Scratch): Promise<object> {
  const source = await contextSource(context, o, scratch);
  return {
    context: source.context,
    dockerfile: source.dockerfile,
    contexts: Object.fromEntries(o.buildContext.map(namedContext)),
    tags: o.tag,
    ...(o.target === undefined ? {} : { target: o.target }),
    buildArgs: {
      ...(process.env['SOURCE_DATE_EPOCH'] === undefined
        ? {}
        : { SOURCE_DATE_EPOCH: process.env['SOURCE_DATE_EPOCH'] }),
      ...pairs(o.buildArg, (name) => process.env[name]),
    },
    labels: pairs(o.label, () => ''),
    annotations: pairs(o.annotation, () => ''),
    ...(o.platform === undefined ? {} : { platform: o.platform }),
    noCache: !o.cache,
    noCacheStages: o.noCacheFilter.flatMap((each) => each.split(',')),
    pull: o.pull,
    network: o.network,
    secrets: Object.fromEntries(o.secret.map(secret)),
    ssh: Object.fromEntries(o.ssh.map(sshAgent)),
    cacheFrom: o.cacheFrom.map(cacheReference),
    cacheTo: o.cacheTo.map(cacheReference),
    extraHosts: o.addHost,
    entitlements: o.allow,
    ...(o.memory === undefined ? {} : { memory: byteSize('memory', o.memory) }),
    ...(o.shmSize === undefined ? {} : { shmSize: byteSize('shm-size', o.shmSize) }),
    provenance: o.provenance,
    sbom: o.sbom,
  };
}

interface ChosenContext {
  context: object;
  dockerfile: { path: string; text?: string };
}

async function contextSource(context: string, o: BuildFlags, scratch: Scratch): Promise<ChosenContext> {
  const text = o.file === '-' ? readFileSync(0, 'utf8') : undefined;
  const given = text === undefined ? {} : { text };
  if (/^(https?|git|ssh):\/\/|^git@|^github\.com\//.test(context))
    return {
      context: { kind: 'remote', url: context },
      dockerfile: { path: o.file ?? 'Dockerfile', ...given },
    };
  if (context === '-') return await standardInput(o, scratch);
  const root = resolve(context);
  if (!existsSync(root) || !statSync(root).isDirectory())
    throw invalid(`unable to prepare context: path ${JSON.stringify(context)} not found`);
  if (text !== undefined) return { context: place(root), dockerfile: { path: 'Dockerfile', text } };
  const file = o.file === undefined ? join(root, 'Dockerfile') : resolve(o.file);
  if (!existsSync(file))
    throw invalid(`failed to read dockerfile: ${relative(process.cwd(), file) || file}: no such file`, {
      hint: 'Name it with --file.',
    });
  const inside = relative(root, file);
  // A Dockerfile that is elsewhere is sent as text; its own .dockerignore goes by its name.
  if (!inside.startsWith('..')) return { context: place(root), dockerfile: { path: inside } };
  return { context: place(root), dockerfile: { path: basename(file), text: readFileSync(file, 'utf8') } };
}

function place(path: string): object {
  const { dev, ino } = statSync(path);
  return { kind: 'directory', place: { path, dev, ino } };
}

/** A Dockerfile, or an archive with one in it. */
async function standardInput(o: BuildFlags, scratch: Scratch): Promise<ChosenContext> {
  const file = join(scratch.path, 'stdin');
  await pipeline(process.stdin, createWriteStream(file));
  const head = headOf(file);
  const isArchive =
    head.toString('latin1', 257, 262) === 'ustar' ||
    [0x1f8b, 0x425a, 0x28b5, 0xfd37].includes(head.length < 2 ? 0 : head.readUInt16BE(0));
  if (!isArchive)
    return {
      context: { kind: 'empty' },
      dockerfile: { path: 'Dockerfile', text: readFileSync(file, 'utf8') },
    };
  const directory = join(scratch.path, 'context');
  mkdirSync(directory);
  await extract(createReadStream(file), directory);
  return { context: place(directory), dockerfile: { path: o.file ?? 'Dockerfile' } };
}

/** As much of a file as tells an archive from a Dockerfile. */
function headOf(file: string): Buffer {
  const head = Buffer.alloc(262);
  const fd = openSync(file, 'r');
  try {
    return head.subarray(0, readSync(fd, head));
  } finally {
    closeSync(fd);
  }
}

async function extract(archive: Readable, directory: string): Promise<void> {
  const [{ spawn }, { once }] = await Promise.all([import('node:child_process'), import('node:events')]);
  const tar = spawn('tar', ['-x', '-f', '-', '-C', directory, '--numeric-owner'], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const closed = once(tar, 'close');
  const failure = await pipeline(archive, tar.stdin).then(
    () => undefined,
    (error: unknown) => error,
  );
  const [exitCode] = await closed;
  if (exitCode !== 0) throw invalid(`tar could not unpack into ${directory}`);
  // An archive that ends early may look complete to tar; but tar may have enough before it has read all.
  const reason = failure instanceof Error && 'code' in failure ? failure.code : undefined;
  if (failure !== undefined && reason !== 'EPIPE' && reason !== 'ERR_STREAM_PREMATURE_CLOSE') throw failure;
}

function namedContext(text: string): [string, object] {
  const equals = text.indexOf('=');
  if (equals < 1) throw invalid(`invalid context value: ${text}, expected key=value`);
  const name = text.slice(0, equals);
  const value = text.slice(equals + 1);
  if (value.startsWith('docker-image://'))
    return [name, { kind: 'image', reference: value.slice('docker-image://'.length) }];
  if (/^(https?|git|ssh):\/\/|^git@/.test(value)) return [name, { kind: 'remote', url: value }];
  if (value.startsWith('oci-layout://'))
    throw invalid(`context ${name}: load the layout first (docker load) and name it as docker-image://`);
  if (!existsSync(value)) throw invalid(`context ${name}: ${value}: no such directory`);
  return [name, place(resolve(value))];
}

/** `NAME=value`; a name alone takes `missing(name)`, and is left out where that is nothing. */
function pairs(
  list: readonly string[],
  missing: (name: string) => string | undefined,
): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of list) {
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? missing(name) : pair.slice(equals + 1);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

function fieldsOf(text: string): Record<string, string> {
  return pairs(text.split(','), () => 'true');
}

function secret(text: string): [string, string] {
  const fields = fieldsOf(text);
  const source = fields['src'] ?? fields['source'];
  const id = fields['id'] ?? (source === undefined ? undefined : basename(source));
  if (id === undefined) throw invalid(`invalid secret ${text}: give it an id`);
  const variable = fields['env'] ?? (fields['type'] === 'env' ? id : source === undefined ? id : undefined);
  if (source !== undefined && fields['type'] !== 'env') {
    if (!existsSync(source)) throw invalid(`secret ${id}: ${source}: no such file`);
    return [id, readFileSync(source).toString('base64')];
  }
  const value = process.env[variable ?? id];
  if (value === undefined) throw invalid(`secret ${id}: the variable ${variable ?? id} is not set`);
  return [id, Buffer.from(value).toString('base64')];
}

function sshAgent(text: string): [string, string] {
  const [id = 'default', path] = text.split('=');
  const socket = path ?? process.env['SSH_AUTH_SOCK'];
  if (socket === undefined)
    throw invalid('--ssh: no agent is running: SSH_AUTH_SOCK is not set', {
      hint: 'Start one: eval $(ssh-agent); ssh-add',
    });
  if (!existsSync(socket) || !statSync(socket).isSocket())
    throw invalid(`--ssh ${id}: ${socket} is no agent's socket`);
  return [id, resolve(socket)];
}

function cacheReference(text: string): object {
  const { type, ...attributes } = text.includes('=') ? fieldsOf(text) : { type: 'registry', ref: text };
  if (type !== 'registry' && type !== 'local' && type !== 'inline')
    throw invalid(`cache type ${type ?? ''} is not supported: there are registry, local and inline`);
  for (const key of ['src', 'dest'])
    if (attributes[key] !== undefined) attributes[key] = resolve(attributes[key] ?? '');
  return { type, attributes };
}

function byteSize(name: string, text: string): number {
  const bytes = parseByteSize(text);
  if (bytes === undefined) throw invalid(`--${name}: ${text} is no size such as 512m`);
  return bytes;
}

interface Output {
  type: 'image' | 'registry' | 'oci' | 'docker' | 'local' | 'tar';
  dest: string | undefined;
  attributes: Record<string, string>;
}

function parseOutput(text: string): Output {
  if (!text.includes('=')) return { type: text === '-' ? 'tar' : 'local', dest: text, attributes: {} };
  const { type = 'image', dest, ...attributes } = fieldsOf(text);
  const known = (['image', 'registry', 'oci', 'docker', 'local', 'tar'] as const).find(
    (each) => each === type,
  );
  if (known === undefined)
    throw invalid(
      `output type ${type} is not supported: there are image, registry, oci, docker, local and tar`,
    );
  if (dest === undefined && known !== 'image' && known !== 'registry' && known !== 'docker')
    throw invalid(`output ${type} needs dest=`);
  return { type: dest === undefined && known === 'docker' ? 'image' : known, dest, attributes };
}

async function writeOutput(client: ApiClient, result: BuildResult, output: Output): Promise<void> {
  if (output.type === 'image' || output.type === 'registry') return;
  const names = new URLSearchParams(
    (result.tags.length > 0 ? result.tags : [result.id]).map((name) => ['names', name]),
  );
  const isArchive = output.type === 'oci' || output.type === 'docker';
  const response = await client.open(
    'GET',
    isArchive ? `/images/get?${names}` : `/images/${result.id}/rootfs`,
  );
  const dest = output.dest ?? '-';
  if (output.type === 'local') {
    mkdirSync(dest, { recursive: true });
    await extract(response, dest);
    return;
  }
  await pipeline(response, dest === '-' ? process.stdout : createWriteStream(dest));
}

/** An image that was only wanted as files. */
async function dropImage(client: ApiClient, result: BuildResult): Promise<void> {
  const { RepoTags } = await client.call<{ RepoTags: string[] }>('GET', `/images/${result.id}/json`);
  // Where it has a name, it is not this build's to remove.
  if (RepoTags.length > 0) return;
  await client.call('DELETE', `/images/${result.id}`).catch((error: unknown) => {
    if (!(error instanceof DroverError) || error.kind !== 'conflict') throw error;
  });
}
