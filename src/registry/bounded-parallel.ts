/** Runs `work` for each item, `limit` at a time, in their order. The first failure is thrown when those in work have ended. */
export async function boundedParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const pending = [...items.entries()];
  let failure: { error: unknown } | undefined;
  const run = async (): Promise<void> => {
    for (let next = pending.shift(); next !== undefined && failure === undefined; next = pending.shift()) {
      try {
        await work(next[1], next[0]);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, run));
  if (failure !== undefined) throw failure.error;
}
