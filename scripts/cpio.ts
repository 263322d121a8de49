/** A file of an archive; one without content is a directory. */
export interface CpioEntry {
  /** Relative to the root. */
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
}

const DIRECTORY = 0o040000;
const REGULAR = 0o100000;

/** An archive in cpio's format newc, of which the kernel makes its first file system. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.map(({ path, mode, content }, index) =>
    member(path, {
      ...{ inode: index + 1, mode: mode | (content === undefined ? DIRECTORY : REGULAR) },
      content: content ?? Buffer.alloc(0),
    }),
  );
  return Buffer.concat([...parts, member('TRAILER!!!', { inode: 0, mode: 0, content: Buffer.alloc(0) })]);
}

function member(path: string, o: { inode: number; mode: number; content: Buffer }): Buffer {
  const name = Buffer.from(`${path}\0`);
  const fields = [o.inode, o.mode, 0, 0, 1, 0, o.content.length, 0, 0, 0, 0, name.length, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(head), name])), padded(o.content)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
