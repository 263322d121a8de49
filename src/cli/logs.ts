import type { Readable } from 'node:stream';
import { styleText } from 'node:util';
import { LABEL } from '#compose/container-request.ts';
import type { ApiClient } from './api-client.ts';
import { actualOf, type ListedContainer, listContainers } from './project-state.ts';

const COLOURS = ['cyan', 'yellow', 'green', 'magenta', 'blue'] as const;
const FRAME_HEADER = 8;

/** Prints the logs of a project's services, each line behind its container's name. */
export async function printLogs(
  client: ApiClient,
  project: string,
  o: {
    services: readonly string[];
    follow: boolean;
    tail: string;
    timestamps: boolean;
    signal?: AbortSignal;
  },
): Promise<void> {
  const containers = (await listContainers(client, project)).filter(
    ({ Labels }) => o.services.length === 0 || o.services.includes(Labels[LABEL.service] ?? ''),
  );
  const width = Math.max(0, ...containers.map((container) => shortName(container, project).length));
  await Promise.all(
    containers.map(async (container, index) => {
      const query = `follow=${o.follow}&stdout=1&stderr=1&tail=${encodeURIComponent(o.tail)}&timestamps=${o.timestamps}`;
      const { Config } = await client.call<{ Config: { Tty: boolean } }>(
        'GET',
        `/containers/${container.Id}/json`,
      );
      const stream = await client.open(
        'GET',
        `/containers/${container.Id}/logs?${query}`,
        undefined,
        o.signal,
      );
      const label = `${shortName(container, project).padEnd(width)} | `;
      const colour = COLOURS[index % COLOURS.length] ?? 'cyan';
      const prefix = process.stdout.isTTY ? styleText(colour, label) : label;
      for await (const line of lines(Config.Tty ? stream : payloads(stream)))
        process.stdout.write(`${prefix}${line}\n`);
    }),
  );
}

function shortName(container: ListedContainer, project: string): string {
  return actualOf(container).name.replace(`${project}-`, '');
}

/** Takes Docker's frames off: a stream number, three zeros, a length, the data. */
async function* payloads(stream: Readable): AsyncGenerator<Buffer> {
  let buffer: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= FRAME_HEADER && buffer.length >= FRAME_HEADER + buffer.readUInt32BE(4)) {
      const end = FRAME_HEADER + buffer.readUInt32BE(4);
      yield buffer.subarray(FRAME_HEADER, end);
      buffer = buffer.subarray(end);
    }
  }
}

async function* lines(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of source) {
    const parts = (rest + chunk.toString('utf8')).split(/\r?\n/);
    rest = parts.pop() ?? '';
    yield* parts;
  }
  if (rest !== '') yield rest;
}
