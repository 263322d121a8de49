const UNITS: Readonly<Record<string, number>> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** Bytes that Docker's flags and options write as `512`, `64m` or `1GB`; undefined for anything else. */
export function parseByteSize(text: string): number | undefined {
  const match = /^(\d+)([bkmg])?b?$/i.exec(text);
  return match === null ? undefined : Number(match[1]) * (UNITS[(match[2] ?? 'b').toLowerCase()] ?? 1);
}
