/** Now, in RFC 3339 with microseconds, always in the same length, so that texts compare as times do. */
export function timestamp(): string {
  return timestampOf(performance.timeOrigin + performance.now());
}

/** A time in milliseconds since the epoch, with its fraction, in the same form. */
export function timestampOf(ms: number): string {
  const micros = Math.round(ms * 1000);
  const date = new Date(Math.floor(micros / 1000)).toISOString().slice(0, -1);
  return `${date}${String(micros % 1000).padStart(3, '0')}Z`;
}
