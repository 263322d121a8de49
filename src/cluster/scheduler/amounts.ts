const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `512 MiB`: in the largest unit that leaves at least 1, with one digit behind the point where it is not whole. */
export function bytesText(bytes: number): string {
  let [amount, unit] = [bytes, 0];
  while (Math.abs(amount) >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${rounded(amount, 1)} ${UNITS[unit]}`;
}

/** `1.5 CPUs` of billionths of a processor. */
export function cpusText(nanoCpus: number): string {
  const text = rounded(nanoCpus / 1e9, 2);
  return `${text} ${text === '1' ? 'CPU' : 'CPUs'}`;
}

/** `1 node`, `2 nodes`. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function rounded(amount: number, digits: number): string {
  return String(Number(amount.toFixed(digits)));
}
