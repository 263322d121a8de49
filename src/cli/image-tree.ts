import { existsSync } from 'node:fs';
import type { BuildRecipe } from '#model/image.ts';
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
  Recipe: BuildRecipe | null;
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

/** As deep as bases stand on bases; who names itself ends here. */
const MOST_ROUNDS = 20;

/**
 * `drover image rebase`: brings what was built on a base up to date, and what was built on that. An image whose context is still
 * there is built again; of another one the own layers are put onto the new base.
 */
export async function rebase(
  client: ApiClient,
  base: string,
  o: { force: boolean; layers: boolean },
): Promise<void> {
  const bases = new Set([fullName(base)]);
  const done = new Set<string>();
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const lines = await lineage(client, true);
    const stale = lines.filter(
      (line) =>
        line.Outdated === true &&
        line.RepoTags.length > 0 &&
        bases.has(line.BaseName ?? '') &&
        !done.has(line.Id),
    );
    if (stale.length === 0) break;
    for (const line of stale) {
      done.add(line.Id);
      await renew(client, line, o);
      for (const tag of line.RepoTags) bases.add(fullName(tag));
    }
  }
  if (done.size === 0) console.log(`No image was built on an older ${base}.`);
}

async function renew(
  client: ApiClient,
  line: LineageLine,
  o: { force: boolean; layers: boolean },
): Promise<void> {
  const { Recipe: recipe } = line;
  if (recipe !== null && !o.layers && existsSync(recipe.context)) {
    const { rebuild } = await import('./build.ts');
    const id = await rebuild(client, recipe, line.RepoTags);
    console.log(`${line.RepoTags.join(', ')}  ${line.Id.slice(7, 19)} → ${id.slice(7, 19)}  built again`);
    return;
  }
  const query = new URLSearchParams({ onto: line.BaseName ?? '', force: String(o.force) });
  const { To } = await client.call<{ To: string }>('POST', `/images/${line.Id}/rebase?${query}`);
  console.log(`${line.RepoTags.join(', ')}  ${line.Id.slice(7, 19)} → ${To.slice(7, 19)}  layers moved`);
}

/** With registry and tag, as the daemon writes the names of bases. */
function fullName(name: string): string {
  const parts = name.split('/');
  const [first = ''] = parts;
  const hasRegistry = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost');
  const path = hasRegistry ? name : `docker.io/${parts.length === 1 ? 'library/' : ''}${name}`;
  return path.indexOf(':', path.lastIndexOf('/')) < 0 ? `${path}:latest` : path;
}
