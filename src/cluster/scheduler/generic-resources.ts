import type { GenericResource } from '#model/task-spec.ts';

/** What a task reserves of one kind: so many, or the one of that name. */
export interface GenericDemand {
  readonly kind: string;
  readonly amount: number;
  readonly value?: string;
}

export function genericDemands(resources: readonly GenericResource[]): GenericDemand[] {
  return resources.map((resource) =>
    'NamedResourceSpec' in resource
      ? { kind: resource.NamedResourceSpec.Kind, amount: 1, value: resource.NamedResourceSpec.Value }
      : { kind: resource.DiscreteResourceSpec.Kind, amount: resource.DiscreteResourceSpec.Value },
  );
}

/** One node's generic resources: what it has, by number or by name, and what its tasks have of it. */
export class GenericPool {
  readonly #numbers = new Map<string, number>();
  readonly #names = new Map<string, Set<string>>();
  readonly #usedNumbers = new Map<string, number>();
  /** Kind → name → tasks that have it: never more than one, unless the node's own list shrank and grew again. */
  readonly #usedNames = new Map<string, Map<string, number>>();

  setCapacity(resources: readonly GenericResource[]): void {
    this.#numbers.clear();
    this.#names.clear();
    for (const resource of resources) {
      if ('NamedResourceSpec' in resource) {
        const { Kind, Value } = resource.NamedResourceSpec;
        this.#names.set(Kind, (this.#names.get(Kind) ?? new Set()).add(Value));
      } else {
        const { Kind, Value } = resource.DiscreteResourceSpec;
        this.#numbers.set(Kind, (this.#numbers.get(Kind) ?? 0) + Value);
      }
    }
  }

  /** Takes what a task was given (`sign` 1) or gives it back (-1). */
  use(given: readonly GenericResource[], sign: 1 | -1): void {
    for (const resource of given) {
      if ('NamedResourceSpec' in resource) {
        const { Kind, Value } = resource.NamedResourceSpec;
        const used = this.#usedNames.get(Kind) ?? new Map<string, number>();
        add(used, Value, sign);
        if (used.size > 0) this.#usedNames.set(Kind, used);
        else this.#usedNames.delete(Kind);
      } else {
        add(
          this.#usedNumbers,
          resource.DiscreteResourceSpec.Kind,
          sign * resource.DiscreteResourceSpec.Value,
        );
      }
    }
  }

  capacity(kind: string): number {
    return this.#names.get(kind)?.size ?? this.#numbers.get(kind) ?? 0;
  }

  free(kind: string): number {
    const names = this.#names.get(kind);
    return names === undefined
      ? (this.#numbers.get(kind) ?? 0) - (this.#usedNumbers.get(kind) ?? 0)
      : this.#freeNames(kind, names).length;
  }

  /** What of the node would be given for these; undefined where one of them is not free. */
  offer(demands: readonly GenericDemand[]): GenericResource[] | undefined {
    const given: GenericResource[] = [];
    const taken = new Map<string, number>();
    const takenNames = new Set<string>();
    // who asks for a name goes first: another may take any
    const ordered = [...demands].sort(
      (a, b) => Number(b.value !== undefined) - Number(a.value !== undefined),
    );
    for (const { kind, amount, value } of ordered) {
      const names = this.#names.get(kind);
      if (names === undefined) {
        const before = taken.get(kind) ?? 0;
        if (value !== undefined || this.free(kind) < before + amount) return undefined;
        taken.set(kind, before + amount);
        given.push({ DiscreteResourceSpec: { Kind: kind, Value: amount } });
        continue;
      }
      const free = this.#freeNames(kind, names)
        .filter((name) => !takenNames.has(`${kind}\0${name}`) && (value === undefined || name === value))
        .slice(0, amount);
      if (free.length < amount) return undefined;
      for (const name of free) {
        takenNames.add(`${kind}\0${name}`);
        given.push({ NamedResourceSpec: { Kind: kind, Value: name } });
      }
    }
    return given;
  }

  /** What is in use, for comparing. */
  get used(): {
    numbers: ReadonlyMap<string, number>;
    names: ReadonlyMap<string, ReadonlyMap<string, number>>;
  } {
    return { numbers: this.#usedNumbers, names: this.#usedNames };
  }

  #freeNames(kind: string, names: ReadonlySet<string>): string[] {
    const used = this.#usedNames.get(kind);
    return [...names].filter((name) => used?.has(name) !== true).sort();
  }
}

function add(counts: Map<string, number>, key: string, amount: number): void {
  const count = (counts.get(key) ?? 0) + amount;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
