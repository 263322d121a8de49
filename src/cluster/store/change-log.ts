import { conflict } from '#model/errors.ts';
import type { ChangeBatch } from './store.ts';

/** What a store did last, commit by commit: the newest `limit` changes, and always the last commit whole. */
export class ChangeLog {
  readonly #limit: number;
  #batches: ChangeBatch[] = [];
  /** Where the kept ones begin in `#batches`: what is before is cut off when it is half. */
  #first = 0;
  #changes = 0;
  #forgotten = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  append(batch: ChangeBatch): void {
    this.#batches.push(batch);
    this.#changes += batch.changes.length;
    while (this.#changes > this.#limit && this.#first < this.#batches.length - 1) {
      const oldest = this.#batches[this.#first];
      this.#changes -= oldest?.changes.length ?? 0;
      this.#forgotten = oldest?.revision ?? this.#forgotten;
      this.#first += 1;
    }
    if (this.#first > this.#batches.length / 2) {
      this.#batches = this.#batches.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The first commit after a revision; undefined where there is none yet, `conflict` where it is forgotten. */
  after(revision: number): ChangeBatch | undefined {
    if (revision < this.#forgotten) throw forgotten(revision);
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#batches[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#batches[low];
  }
}

/** The error of a watch from a revision whose changes are not kept any more. */
export function forgotten(revision: number): Error {
  return conflict(`the changes after revision ${revision} are forgotten: the store has to be listed again`);
}

/** The error of a watch from a revision that the store has not come to: it was put back to an older state. */
export function ahead(revision: number, current: number): Error {
  return conflict(
    `the store is at revision ${current} and has not come to ${revision}: it has to be listed again`,
  );
}

/** The part of a commit that is below a prefix; undefined where nothing is. */
export function batchBelow(batch: ChangeBatch, prefix: string): ChangeBatch | undefined {
  if (prefix === '') return batch;
  const changes = batch.changes.filter((change) =>
    (change.kind === 'put' ? change.entry.key : change.key).startsWith(prefix),
  );
  return changes.length === 0 ? undefined : { revision: batch.revision, changes };
}
