/** utimensat(2)'s access and modification times, both `ns`. */
export function timeSpecs(ns: bigint): Buffer {
  const times = Buffer.alloc(32);
  const seconds = ns >= 0n ? ns / 1_000_000_000n : (ns - 999_999_999n) / 1_000_000_000n;
  for (const at of [0, 16]) {
    times.writeBigInt64LE(seconds, at);
    times.writeBigInt64LE(ns - seconds * 1_000_000_000n, at + 8);
  }
  return times;
}
