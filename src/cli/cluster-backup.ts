import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { invalid, unavailable } from '#model/errors.ts';
import type { ApiClient } from './api-client.ts';
import type { RestoreFlags } from './cluster.ts';

/** `drover cluster backup`: the file is there whole, 0600, or not at all. */
export async function backup(client: ApiClient, file: string, o: { quiet: boolean }): Promise<void> {
  const response = await client.open('GET', '/cluster/backup');
  const total = Number(response.headers['content-length'] ?? 0);
  const partial = `${file}.partial`;
  const hash = createHash('sha256');
  try {
    await rm(partial, { force: true });
    const progress = new ByteProgress('saved', total);
    await pipeline(
      response,
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          progress.add(chunk.length);
          yield chunk;
        }
      },
      createWriteStream(partial, { mode: 0o600, flags: 'wx', flush: true }),
    );
    progress.end();
    if (statSync(partial).size !== total)
      throw unavailable(`the backup broke off: ${statSync(partial).size} of ${total} bytes came`);
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  const {
    'x-drover-cluster': cluster,
    'x-drover-revision': revision,
    'x-drover-entries': entries,
  } = response.headers;
  console.log(
    `${file}: cluster ${String(cluster)} at revision ${String(revision)}, ${String(entries)} entries, ${bytesText(total)}`,
  );
  console.log(`sha256:${hash.digest('hex')}`);
  if (o.quiet) return;
  const { Key } = await client.call<{ Key: string }>('GET', '/cluster/key');
  console.log(`\nA restore asks for the managers' key. Keep it apart from the file:\n\n    ${Key}`);
}

/** `drover cluster restore`. */
export async function restore(client: ApiClient, file: string, o: RestoreFlags): Promise<void> {
  const { size } = statSync(file, { throwIfNoEntry: false }) ?? {};
  if (size === undefined) throw invalid(`${file}: no such file`);
  const key = await keyOf(o.keyFile);
  const query = new URLSearchParams({
    listen: o.listenAddr,
    advertise: o.advertiseAddr,
    dataPath: o.dataPathAddr,
  });
  const progress = new ByteProgress('sent', size);
  const content = createReadStream(file).on('data', (chunk) => progress.add(chunk.length));
  const response = await client.open('POST', `/cluster/restore?${query}`, content, undefined, {
    'Content-Type': 'application/octet-stream',
    'X-Drover-Key': key,
  });
  progress.end();
  const { NodeID, ClusterID, Entries }: { NodeID: string; ClusterID: string; Entries: number } = JSON.parse(
    await text(response),
  );
  console.log(
    `This node (${NodeID}) is the one manager of cluster ${ClusterID} now: ${Entries} entries restored.`,
  );
  console.log('Nodes that run come back by themselves; docker node ls shows them.');
}

/** `drover cluster recover`. */
export async function recover(client: ApiClient, o: { force: boolean }): Promise<void> {
  const { NodeID } = await client.call<{ NodeID: string }>('POST', '/cluster/recover', { Force: o.force });
  console.log(`This node (${NodeID}) is the one manager of the cluster now.`);
  console.log(
    'Managers of before are workers: promote them (docker node promote) when they are back, or remove them.',
  );
}

async function keyOf(keyFile: string | undefined): Promise<string> {
  if (keyFile !== undefined) return readFileSync(keyFile, 'utf8').trim();
  if (process.stdin.isTTY) process.stderr.write("The managers' key: ");
  for await (const chunk of process.stdin) {
    const [line = ''] = String(chunk).split('\n');
    return line.trim();
  }
  throw invalid("the managers' key is missing: give it on standard input or by --key-file");
}

/** How far a file has come, on a terminal only. */
class ByteProgress {
  readonly #verb: string;
  readonly #total: number;
  #done = 0;
  #shown = '';

  constructor(verb: string, total: number) {
    this.#verb = verb;
    this.#total = total;
  }

  add(bytes: number): void {
    this.#done += bytes;
    if (!process.stderr.isTTY) return;
    const line = `${this.#verb} ${bytesText(this.#done)} of ${bytesText(this.#total)}`;
    if (line === this.#shown) return;
    this.#shown = line;
    process.stderr.write(`\r${line}\u001b[K`);
  }

  end(): void {
    if (this.#shown !== '') process.stderr.write('\r\u001b[K');
  }
}

/** `4.2 MB`, as Docker shows sizes. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB'];
  const power = Math.min(units.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${units[power]}`;
}
