const TYPES: readonly (readonly [number, number])[] = [
  [0x8000_0000, 0o040000], // directory
  [0x0800_0000, 0o120000], // symbolic link
  [0x0100_0000, 0o140000], // socket
  [0x0200_0000, 0o010000], // fifo
  // before the block device, whose bit it has as well
  [0x0420_0000, 0o020000], // character device
  [0x0400_0000, 0o060000], // block device
];
const REGULAR = 0o100000;
const FORMAT = 0o170000;

const FLAGS: readonly (readonly [number, number])[] = [
  [0x0080_0000, 0o4000],
  [0x0040_0000, 0o2000],
  [0x0010_0000, 0o1000],
];

/** A mode in the bits of Go's os.FileMode as stat(2) has it (inode(7)). */
export function modeOfGo(mode: number): number {
  const [, type = REGULAR] = TYPES.find(([bits]) => has(mode, bits)) ?? [];
  return FLAGS.reduce((sum, [bit, flag]) => (has(mode, bit) ? sum | flag : sum), type | (mode & 0o777));
}

/** The other way round. */
export function goModeOf(mode: number): number {
  const [bits = 0] = TYPES.find(([, type]) => type === (mode & FORMAT)) ?? [];
  const flags = FLAGS.reduce((sum, [bit, flag]) => ((mode & flag) === 0 ? sum : sum | bit), bits);
  return (flags | (mode & 0o777)) >>> 0;
}

function has(mode: number, bits: number): boolean {
  return (mode & bits) >>> 0 === bits;
}

export type FileKind = 'directory' | 'file' | 'symlink' | 'node' | 'socket';

/** What kind of file a mode of stat(2) is of; `node` for fifos and devices. */
export function kindOfMode(mode: number): FileKind {
  switch (mode & FORMAT) {
    case 0o040000:
      return 'directory';
    case 0o120000:
      return 'symlink';
    case 0o140000:
      return 'socket';
    case REGULAR:
      return 'file';
    default:
      return 'node';
  }
}
