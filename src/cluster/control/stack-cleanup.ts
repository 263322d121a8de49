import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import { kindOf } from '#model/errors.ts';
import type { ReleaseRecord } from '#model/release.ts';
import { fileReferences } from './container-spec-check.ts';
import { removal } from './network-control.ts';
import { stackOf } from './stack-services.ts';

/** Releases of a stack, the newest first. Costs a look at every release. */
export function releasesOf(view: ClusterView, stack: string): ReleaseRecord[] {
  return [...view.all('release')]
    .filter((release) => release.stack === stack)
    .sort((a, b) => b.number - a.number);
}

/**
 * What is left of a stack that was deployed before: networks that the newest release does not have, secrets and configs that none has and
 * no service uses. What was made after the newest release is the next one's, which is about to be written.
 */
export function uselessObjects(view: ClusterView, stack: string): Write[] {
  const releases = releasesOf(view, stack);
  const [newest] = releases;
  if (newest === undefined) return [];
  const networks = new Set(newest.spec.networks.map(({ name }) => name));
  const writes: Write[] = [];
  for (const network of view.all('network')) {
    if (stackOf(network.Labels) !== stack || network.removing === true || networks.has(network.Name))
      continue;
    if (network.CreatedAt > newest.CreatedAt) continue;
    const write = removalOf(view, network);
    if (write !== undefined) writes.push(write);
  }
  const unused = (table: 'secret' | 'config'): string[] => {
    const kept = new Set(releases.flatMap(({ spec }) => spec[`${table}s`].map(({ name }) => name)));
    const used = usedContents(view, table);
    return [...view.all(table)]
      .filter(({ Spec, CreatedAt }) => stackOf(Spec.Labels) === stack && CreatedAt <= newest.CreatedAt)
      .filter(({ ID, Spec }) => !kept.has(Spec.Name) && !used.has(ID))
      .map(({ ID }) => ID);
  };
  for (const id of unused('secret')) writes.push({ table: 'secret', delete: id });
  for (const id of unused('config')) writes.push({ table: 'config', delete: id });
  return writes;
}

/** Undefined while a service is on it that was not made by the stack. */
function removalOf(view: ClusterView, network: Parameters<typeof removal>[1]): Write | undefined {
  try {
    return removal(view, network);
  } catch (error) {
    if (kindOf(error) !== 'invalid') throw error;
    return undefined;
  }
}

function usedContents(view: ClusterView, table: 'secret' | 'config'): Set<string> {
  const used = new Set<string>();
  for (const { Spec, removing } of view.all('service')) {
    if (removing === true) continue;
    for (const { id } of fileReferences(Spec.TaskTemplate.ContainerSpec)[table]) used.add(id);
  }
  return used;
}
