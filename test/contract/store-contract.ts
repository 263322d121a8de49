import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Change, ChangeBatch, Store, Transaction } from '#cluster/store/store.ts';
import { kindOf } from '#model/errors.ts';

/** The shortest that etcd grants. */
const TTL_MS = 2000;
const VALUE_LIMIT = 1536 * 1024;

export interface StoreUnderTest extends AsyncDisposable {
  readonly store: Store;
  /** Another way to what the store keeps. */
  readonly other: Store;
  /** Makes the store forget what changed up to now. */
  forget(): Promise<void>;
  /** Resolves when a lease of this time would be over that nobody keeps, with the number of commits that finding it out took. */
  outlast(ttlMs: number): Promise<number>;
}

const signal = (): AbortSignal => new AbortController().signal;

/** A transaction of which only some parts are given. */
export function write(o: Partial<Transaction>): Transaction {
  return { checks: [], puts: [], deletes: [], ...o };
}

export async function put(store: Store, key: string, value: string): Promise<number> {
  const result = await store.commit(write({ puts: [{ key, value }] }));
  assert.ok(result.committed);
  return result.revision;
}

/** Reads a watch until `enough` says so of all changes so far. */
export async function changesUntil(
  batches: AsyncIterable<ChangeBatch>,
  enough: (changes: readonly Change[]) => boolean,
): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const batch of batches) {
    changes.push(...batch.changes);
    if (enough(changes)) break;
  }
  return changes;
}

/** What every store has to do, called once with each: the names of keys are the test's own, so all run on one store. */
export function testStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(name, { concurrency: false }, () => {
    test('reads what it wrote, and nothing where nothing is', async () => {
      await using under = await open();
      const { store, other } = under;
      assert.equal(await store.get('read/a'), undefined);
      const revision = await put(store, 'read/a', 'grün\n"1"');
      assert.deepEqual(await other.get('read/a'), { key: 'read/a', value: 'grün\n"1"', revision });
      await put(store, 'read/empty', '');
      assert.equal((await other.get('read/empty'))?.value, '');
    });

    test('commits all or, where one check fails, nothing', async () => {
      await using under = await open();
      const { store } = under;
      const first = await put(store, 'cas/a', '1');
      const second = await put(store, 'cas/b', '1');
      assert.ok(second > first);
      const checks = [
        { key: 'cas/a', revision: first },
        { key: 'cas/b', revision: first },
      ];
      const puts = [
        { key: 'cas/a', value: '2' },
        { key: 'cas/c', value: '2' },
      ];
      assert.deepEqual(await store.commit(write({ checks, puts, deletes: ['cas/b'] })), { committed: false });
      assert.equal((await store.get('cas/a'))?.value, '1');
      assert.equal((await store.get('cas/b'))?.revision, second);
      checks[1] = { key: 'cas/b', revision: second };
      const result = await store.commit(write({ checks, puts, deletes: ['cas/b'] }));
      assert.ok(result.committed);
      const { entries, revision } = await store.list('cas/');
      assert.deepEqual(
        entries.map((entry) => [entry.key, entry.value, entry.revision]),
        [
          ['cas/a', '2', result.revision],
          ['cas/c', '2', result.revision],
        ],
      );
      assert.equal(revision, result.revision);
    });

    test('checks that a key is absent', async () => {
      await using under = await open();
      const { store } = under;
      const claim = write({
        checks: [{ key: 'absent/a', revision: 0 }],
        puts: [{ key: 'absent/a', value: 'mine' }],
      });
      assert.equal((await store.commit(claim)).committed, true);
      assert.equal((await store.commit(claim)).committed, false);
      await store.commit(write({ deletes: ['absent/a'] }));
      assert.equal((await store.commit(claim)).committed, true);
    });

    test('a delete of what is not there is no change', async () => {
      await using under = await open();
      const { store } = under;
      const revision = await put(store, 'delete/a', '1');
      const nothing = await store.commit(write({ deletes: ['delete/none'] }));
      assert.deepEqual(nothing, { committed: true, revision });
      const gone = await store.commit(write({ deletes: ['delete/a'] }));
      assert.ok(gone.committed && gone.revision > revision);
      assert.equal(await store.get('delete/a'), undefined);
    });

    test('of concurrent writers of one revision one succeeds, and no addition is lost', async () => {
      await using under = await open();
      const { store, other } = under;
      await put(store, 'count', '0');
      const add = async (by: Store): Promise<void> => {
        for (;;) {
          const entry = await by.get('count');
          assert.ok(entry);
          const checks = [{ key: 'count', revision: entry.revision }];
          const puts = [{ key: 'count', value: String(Number(entry.value) + 1) }];
          if ((await by.commit(write({ checks, puts }))).committed) return;
        }
      };
      await Promise.all(Array.from({ length: 20 }, (_, index) => add(index % 2 === 0 ? store : other)));
      assert.equal((await store.get('count'))?.value, '20');
    });

    test('lists in order what is below a prefix, as it was at one revision', async () => {
      await using under = await open();
      const { store } = under;
      const numbers = Array.from({ length: 230 }, (_, index) => String(index).padStart(4, '0'));
      const many = numbers.map((number) => ({ key: `list/${number}`, value: number }));
      for (let index = 0; index < many.length; index += 100)
        await store.commit(write({ puts: many.slice(index, index + 100).reverse() }));
      await put(store, 'list', 'beside');
      await put(store, 'list-other/0', 'beside');
      const before = await store.list('list/');
      await store.commit(write({ puts: [{ key: 'list/0000', value: 'new' }], deletes: ['list/0001'] }));
      assert.deepEqual(
        before.entries.map(({ value }) => value),
        numbers,
      );
      const after = await store.list('list/');
      assert.ok(after.revision > before.revision);
      assert.deepEqual(
        after.entries.slice(0, 2).map(({ key, value }) => [key, value]),
        [
          ['list/0000', 'new'],
          ['list/0002', '0002'],
        ],
      );
      const all = (await store.list('')).entries.map(({ key }) => key);
      assert.deepEqual(all, [...all].sort());
      assert.ok(all.includes('list-other/0') && all.includes('list'));
    });

    test('a watch from an older revision has every change, in order, and goes on', async () => {
      await using under = await open();
      const { store, other } = under;
      const { revision } = await store.list('watch/');
      const first = await put(store, 'watch/a', '1');
      await put(store, 'watched-not', '1');
      const second = await store.commit(
        write({
          puts: [
            { key: 'watch/b', value: '2' },
            { key: 'watch/c', value: '2' },
          ],
          deletes: ['watch/a'],
        }),
      );
      assert.ok(second.committed);
      const end = new AbortController();
      const seen: ChangeBatch[] = [];
      for await (const batch of other.watch('watch/', revision, end.signal)) {
        seen.push(batch);
        if (batch.revision === second.revision) await put(store, 'watch/d', '3');
        if (batch.changes.some((change) => change.kind === 'put' && change.entry.key === 'watch/d'))
          end.abort();
      }
      const changes = seen.flatMap((batch) => batch.changes);
      const flat = changes.map((change) =>
        change.kind === 'put' ? [change.entry.key, change.entry.revision] : [change.key, change.revision],
      );
      const third = second.revision + 1;
      assert.deepEqual(flat[0], ['watch/a', first]);
      assert.deepEqual(flat.slice(1, 4).sort(), [
        ['watch/a', second.revision],
        ['watch/b', second.revision],
        ['watch/c', second.revision],
      ]);
      assert.deepEqual(flat.slice(4), [['watch/d', third]]);
      assert.equal(seen.at(-1)?.revision, third);
    });

    test('a watch ends when its signal aborts, also while nothing happens', async () => {
      await using under = await open();
      const { store } = under;
      const end = new AbortController();
      const revision = await put(store, 'quiet/a', '1');
      const watching = changesUntil(store.watch('quiet/', revision, end.signal), () => false);
      await put(store, 'other', '1');
      end.abort();
      assert.deepEqual(await watching, []);
    });

    test('a watch misses nothing of many writers', async () => {
      await using under = await open();
      const { store, other } = under;
      const { revision } = await store.list('');
      const all = changesUntil(other.watch('flood/', revision, signal()), ({ length }) => length >= 200);
      const writer = async (number: number): Promise<void> => {
        for (let index = 0; index < 50; index += 1) await put(store, `flood/${number}/${index}`, 'x');
      };
      await Promise.all([1, 2, 3, 4].map(writer));
      const keys = (await all).map((change) => (change.kind === 'put' ? change.entry.key : ''));
      assert.equal(new Set(keys).size, 200);
      const revisions = (await other.list('flood/')).entries.map((entry) => entry.revision);
      assert.equal(new Set(revisions).size, 200);
    });

    test('a watch from a revision that is forgotten, or never was, is a conflict', async () => {
      await using under = await open();
      const { store } = under;
      const { revision } = await store.list('');
      await put(store, 'forgotten/a', '1');
      await put(store, 'forgotten/a', '2');
      await under.forget();
      const old = changesUntil(store.watch('forgotten/', revision, signal()), () => true);
      await assert.rejects(old, (error) => kindOf(error) === 'conflict');
      const now = await store.list('');
      const future = changesUntil(store.watch('forgotten/', now.revision + 1000, signal()), () => true);
      await assert.rejects(future, (error) => kindOf(error) === 'conflict');
      const end = new AbortController();
      const next = changesUntil(store.watch('forgotten/', now.revision, end.signal), () => true);
      await put(store, 'forgotten/b', '3');
      assert.equal((await next).length, 1);
    });

    test('what was put with a lease goes when that is revoked', async () => {
      await using under = await open();
      const { store, other } = under;
      const lease = await store.lease(TTL_MS, signal());
      const result = await store.commit(
        write({
          puts: [
            { key: 'lease/kept', value: 'x', lease: lease.id },
            { key: 'lease/gone', value: 'x', lease: lease.id },
          ],
        }),
      );
      assert.ok(result.committed);
      assert.equal((await other.get('lease/gone'))?.lease, lease.id);
      // a put without a lease takes the key from it
      const kept = await put(store, 'lease/kept', 'y');
      assert.equal((await other.get('lease/kept'))?.lease, undefined);
      const watching = changesUntil(other.watch('lease/', kept, signal()), ({ length }) => length > 0);
      await lease.revoke();
      assert.deepEqual(
        (await watching).map((change) => [change.kind, change.kind === 'delete' && change.key]),
        [['delete', 'lease/gone']],
      );
      assert.equal(lease.lost.aborted, true);
      assert.equal((await other.get('lease/kept'))?.value, 'y');
      const late = store.commit(write({ puts: [{ key: 'lease/late', value: 'x', lease: lease.id }] }));
      await assert.rejects(late, (error) => kindOf(error) === 'not-found');
    });

    test('a lease lives beyond its time while it is kept, writes nothing by that, and ends with its signal', async () => {
      await using under = await open();
      const { store, other } = under;
      const end = new AbortController();
      const lease = await store.lease(TTL_MS, end.signal);
      await store.commit(write({ puts: [{ key: 'kept/a', value: 'x', lease: lease.id }] }));
      const { revision } = await store.list('');
      const commits = await under.outlast(TTL_MS);
      assert.equal(lease.lost.aborted, false);
      assert.equal((await other.get('kept/a'))?.value, 'x');
      assert.equal((await store.list('')).revision, revision + commits);
      const watching = changesUntil(other.watch('kept/', revision, signal()), ({ length }) => length > 0);
      end.abort();
      assert.equal((await watching)[0]?.kind, 'delete');
      assert.equal(lease.lost.aborted, true);
    });

    test('a transaction with as many writes as it takes is one revision', async () => {
      await using under = await open();
      const { store } = under;
      const keys = Array.from({ length: store.maxOperations }, (_, index) => `large/${index}`);
      const result = await store.commit(
        write({
          checks: keys.map((key) => ({ key, revision: 0 })),
          puts: keys.map((key) => ({ key, value: 'x'.repeat(100) })),
        }),
      );
      assert.ok(result.committed);
      const { entries } = await store.list('large/');
      assert.equal(entries.length, keys.length);
      assert.ok(entries.every(({ revision }) => revision === result.revision));
      assert.equal((await store.commit(write({ deletes: keys }))).committed, true);
      assert.equal((await store.list('large/')).entries.length, 0);
      const over = [
        write({ deletes: keys, puts: [{ key: 'large/over', value: '' }] }),
        write({ checks: [...keys, 'large/over'].map((key) => ({ key, revision: 0 })) }),
      ];
      for (const one of over) await assert.rejects(store.commit(one), (error) => kindOf(error) === 'invalid');
    });

    test('takes a value of the limit and refuses more, and what is no key', async () => {
      await using under = await open();
      const { store } = under;
      await put(store, 'value/large', 'x'.repeat(VALUE_LIMIT));
      assert.equal((await store.get('value/large'))?.value.length, VALUE_LIMIT);
      const isInvalid = (error: unknown): boolean => kindOf(error) === 'invalid';
      await assert.rejects(put(store, 'value/over', 'x'.repeat(VALUE_LIMIT + 1)), isInvalid);
      await assert.rejects(put(store, 'value/ü', ''), isInvalid);
      await assert.rejects(put(store, '', ''), isInvalid);
      await assert.rejects(put(store, 'k'.repeat(513), ''), isInvalid);
      const twice = write({ puts: [{ key: 'value/a', value: '' }], deletes: ['value/a'] });
      await assert.rejects(store.commit(twice), isInvalid);
    });
  });
}
