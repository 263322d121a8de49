import type { ApiClient } from './api-client.ts';
import { registryConfigHeader } from './registry-credentials.ts';
import { formatTable } from './table.ts';

interface LineageLine {
  Id: string;
  RepoTags: string[];
  Size: number;
  BaseId: string | null;
  BaseName: string | null;
  BaseDigest: string | null;
  BaseLayers: number;
  Layers: number;
  Outdated?: boolean;
  NewBase?: string;
  Problem?: string;
}

async function lineage(client: ApiClient, check: boolean): Promise<LineageLine[]> {
  return await client.call<LineageLine[]>(
    'GET',
    `/images/lineage?check=${check}`,
    undefined,
    registryConfigHeader(),
  );
}

function nameOf(line: LineageLine): string {
  return line.RepoTags[0] ?? line.Id.slice(7, 19);
}

/** `drover image tree`: each image below the one it was built on. */
export async function printTree(client: ApiClient, o: { format: string }): Promise<void> {
  const lines = await lineage(client, false);
  if (o.format === 'json') {
    console.log(JSON.stringify(lines, undefined, 2));
    return;
  }
  const ids = new Set(lines.map(({ Id }) => Id));
  const below = (id: string | null): LineageLine[] =>
    lines
      .filter(({ BaseId }) => (id === null ? BaseId === null || !ids.has(BaseId) : BaseId === id))
      .sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  const print = (line: LineageLine, prefix: string, own: string): void => {
    const layers =
      line.BaseId === null ? `${line.Layers} layers` : `+${line.Layers - line.BaseLayers} layers`;
    const others = line.RepoTags.slice(1)
      .map((tag) => `, ${tag}`)
      .join('');
    console.log(`${own}${nameOf(line)}${others}  ${line.Id.slice(7, 19)}  ${layers}`);
    const children = below(line.Id);
    for (const [index, child] of children.entries()) {
      const isLast = index === children.length - 1;
      print(child, `${prefix}${isLast ? '   ' : '│  '}`, `${prefix}${isLast ? '└─ ' : '├─ '}`);
    }
  };
  for (const line of below(null)) print(line, '', '');
}

/** `drover image outdated`: images whose base has moved. Gives whether there are any. */
export async function printOutdated(client: ApiClient, o: { format: string }): Promise<boolean> {
  const lines = (await lineage(client, true)).filter(({ BaseName }) => BaseName !== null);
  // What has no name any more is nobody's to bring up to date.
  const outdated = lines.filter(({ Outdated, RepoTags }) => Outdated === true && RepoTags.length > 0);
  if (o.format === 'json') console.log(JSON.stringify(outdated, undefined, 2));
  else {
    const rows = outdated.map((line) => [
      nameOf(line),
      line.BaseName ?? '',
      (line.BaseDigest ?? '').slice(7, 19),
      (line.NewBase ?? '').slice(7, 19),
    ]);
    if (rows.length === 0) console.log('Every image stands on its base as it is now.');
    else process.stdout.write(formatTable(['IMAGE', 'BASE', 'BUILT ON', 'NOW'], rows));
    for (const { Problem, BaseName } of lines)
      if (Problem !== undefined) console.error(`could not ask for ${BaseName}: ${Problem}`);
  }
  return outdated.length > 0;
}

/** `drover image rebase`. */
export async function rebase(client: ApiClient, base: string, o: { force: boolean }): Promise<void> {
  const done = await client.call<{ Tags: string[]; From: string; To: string }[]>(
    'POST',
    `/images/${base}/rebase?force=${o.force}`,
  );
  for (const { Tags, From, To } of done)
    console.log(`${Tags.join(', ')}  ${From.slice(7, 19)} → ${To.slice(7, 19)}`);
  if (done.length === 0) console.log(`No image was built on an older ${base}.`);
}
