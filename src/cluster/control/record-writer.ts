import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { Store } from '#cluster/store/store.ts';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import { unavailable } from '#model/errors.ts';
import type { FollowedView } from './control-ports.ts';

/** What is written, and what the caller is told when it is. */
export interface Decision<T> {
  readonly writes: readonly Write[];
  readonly result: T;
}

/**
 * Every write of the API puts this key and checks that nobody else did since it looked: so what one decision relies on (a secret that
 * exists, a port that is free) no other one changes meanwhile, whichever manager it is made on.
 */
const TURN = 'control/turn';

/** Writers before this one, on other managers, and controllers that changed the same record: more in a row is a fault. */
const ATTEMPTS = 50;

/** Writes what clients ask for, one request after the other over the whole cluster. */
export class RecordWriter {
  readonly #store: Store;
  readonly #follower: FollowedView;
  readonly #signal: AbortSignal;
  readonly #turns = new KeyedMutex();

  constructor(o: { store: Store; follower: FollowedView; signal: AbortSignal }) {
    this.#store = o.store;
    this.#follower = o.follower;
    this.#signal = o.signal;
  }

  /**
   * Commits what `decide` makes of the view, and resolves when the view has it. `decide` is called again when the view turns out to
   * have been old, so it must have no effects of its own; what it throws is thrown.
   */
  async write<T>(decide: (view: ClusterView) => Decision<T>): Promise<T> {
    return await this.#turns.run(TURN, () => this.#write(decide));
  }

  async #write<T>(decide: (view: ClusterView) => Decision<T>): Promise<T> {
    const { view } = this.#follower;
    let last: { turn: number; seen: number } | undefined;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const turn = (await this.#store.get(TURN))?.revision ?? 0;
      // where it was nobody's turn, a controller wrote one of the records: something newer than what was seen is on its way
      await this.#seen(last?.turn === turn ? last.seen + 1 : turn);
      const { writes, result } = decide(view);
      if (writes.length === 0) return result;
      last = { turn, seen: view.revision };
      const { checks, puts, deletes } = transactionOf(view, writes, [{ key: TURN, revision: turn }]);
      const done = await this.#store.commit({ checks, puts: [...puts, { key: TURN, value: '' }], deletes });
      if (!done.committed) continue;
      await this.#seen(done.revision);
      return result;
    }
    throw unavailable('the cluster is busy: others write the same all the time', {
      hint: 'Nothing was changed; try again.',
    });
  }

  async #seen(revision: number): Promise<void> {
    await this.#follower.untilRevision(revision, this.#signal);
  }
}
