const GAP = 3;

/** Columns aligned as Docker's command line does. */
export function formatTable(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [titles, ...rows];
  const widths = titles.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd((widths[column] ?? 0) + GAP)))
      .join('');
  return all.map((row) => `${line(row).trimEnd()}\n`).join('');
}
