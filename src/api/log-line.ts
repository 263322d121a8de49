/** A line a container wrote, as the log keeps it. */
export interface LogLine {
  readonly timeNs: bigint;
  readonly data: Buffer;
}

/** The line as `docker logs` shows it: after its time with `timestamps`, after a blank (no attributes) with `details`. */
export function logLine(record: LogLine, o: { timestamps: boolean; details: boolean }): Buffer {
  if (!o.timestamps && !o.details) return record.data;
  const prefix = `${o.timestamps ? `${formatNanoseconds(record.timeNs)} ` : ''}${o.details ? ' ' : ''}`;
  return Buffer.concat([Buffer.from(prefix), record.data]);
}

/** RFC 3339 with all nine digits: `2026-01-02T03:04:05.000000006Z`. */
export function formatNanoseconds(timeNs: bigint): string {
  const milliseconds = Number(timeNs / 1_000_000n);
  const rest = String(timeNs % 1_000_000n).padStart(6, '0');
  return new Date(milliseconds).toISOString().replace('Z', `${rest}Z`);
}
