import { invalid } from '#model/errors.ts';
import type { GenericResource } from '#model/task-spec.ts';

/**
 * Reads dockerd's `node-generic-resources`: `SSD=3` is a number of equal things, `GPU=UUID1` one thing that has a name; a kind is all
 * of one or all of the other. Throws `invalid` that names the entry.
 */
export function parseGenericResources(entries: readonly string[]): GenericResource[] {
  const read = entries.map(parseEntry);
  for (const [kind, ofKind] of Map.groupBy(read, kindOf)) {
    const numbers = ofKind.filter((resource) => 'DiscreteResourceSpec' in resource).length;
    if (numbers > 1) throw invalid(`node-generic-resource ${kind} is given more than once as a number`);
    if (numbers > 0 && ofKind.length > numbers) {
      throw invalid(`node-generic-resource ${kind} is given both as a number and by name`);
    }
    const names = ofKind.map(valueText);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) throw invalid(`node-generic-resource ${kind}=${twice} is given twice`);
  }
  return read;
}

function parseEntry(entry: string): GenericResource {
  const [, kind, value] = /^([A-Za-z0-9][A-Za-z0-9_.-]*)=([A-Za-z0-9][A-Za-z0-9_.:-]*)$/.exec(entry) ?? [];
  if (kind === undefined || value === undefined) {
    throw invalid(`node-generic-resource ${entry} is not NAME=VALUE, such as SSD=3 or GPU=UUID1`);
  }
  if (!/^\d{1,15}$/.test(value)) return { NamedResourceSpec: { Kind: kind, Value: value } };
  if (Number(value) === 0) throw invalid(`node-generic-resource ${entry}: there has to be at least one`);
  return { DiscreteResourceSpec: { Kind: kind, Value: Number(value) } };
}

function kindOf(resource: GenericResource): string {
  return 'NamedResourceSpec' in resource
    ? resource.NamedResourceSpec.Kind
    : resource.DiscreteResourceSpec.Kind;
}

function valueText(resource: GenericResource): string {
  return 'NamedResourceSpec' in resource
    ? resource.NamedResourceSpec.Value
    : String(resource.DiscreteResourceSpec.Value);
}
