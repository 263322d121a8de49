const NEWLINE = 10;

/** A stream line by line, each without its newline; what comes after the last newline is no line. */
export async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  o: { readonly maxBytes: number; readonly tooLong: () => Error },
): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      yield Buffer.concat([...parts, rest.subarray(0, end)]);
      [parts, size] = [[], 0];
      rest = rest.subarray(end + 1);
    }
    size += rest.length;
    if (size > o.maxBytes) throw o.tooLong();
    if (rest.length > 0) parts.push(rest);
  }
}
