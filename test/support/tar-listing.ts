import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { extract, type Header } from 'tar-stream';

/** An entry of an archive, with what is in it. */
export interface Listed {
  header: Header;
  content: string;
}

/** The entries of a tar archive, in its order. */
export async function listing(archive: Buffer): Promise<Listed[]> {
  const entries: Listed[] = [];
  const parser = extract();
  Readable.from([archive]).pipe(parser);
  for await (const entry of parser) {
    entries.push({ header: entry.header, content: await text(entry) });
  }
  return entries;
}
