import { invalid, notImplemented } from '#model/errors.ts';

const KNOWN: readonly string[] = ['type', 'o', 'device'];
/** What can be mounted without a helper program or an address to be looked up. */
const TYPES: readonly string[] = ['none', 'bind', 'tmpfs', 'ext4', 'xfs', 'btrfs'];
/** Words of mount(8) that are flags of mount(2), not data for the file system. */
const FLAGS: readonly string[] =
  'ro rw sync async noexec exec nosuid suid nodev dev noatime nodiratime relatime strictatime rbind remount'.split(
    ' ',
  );

/** What a volume's options ask to be mounted on its directory. */
export interface DriverMount {
  type: string;
  source: string;
  /** Data for the file system, `size=64m,mode=1777`. */
  options: string;
  bind: boolean;
  readOnly: boolean;
}

/** Throws, naming the option, for what the `local` driver does not take. */
export function checkDriverOptions(name: string, options: Readonly<Record<string, string>>): void {
  const unknown = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined) throw invalid(`create ${name}: invalid option: ${JSON.stringify(unknown)}`);
  if (Object.keys(options).length === 0) return;
  const { type = '', device = '', o = '' } = options;
  if (type === '') throw invalid(`create ${name}: missing required option: "type"`);
  if (!TYPES.includes(type)) {
    throw notImplemented(`create ${name}: volumes of type "${type}" are not there yet`);
  }
  if (device === '') throw invalid(`create ${name}: missing device in volume options`);
  const isBind = isBindMount(type, o);
  const refused = o
    .split(',')
    .find((word) => FLAGS.includes(word) && word !== 'rw' && !(isBind && word === 'ro'));
  if (refused !== undefined) {
    throw notImplemented(`create ${name}: the mount option "${refused}" is not there yet`);
  }
  if (type === 'none' && !isBind) throw invalid(`create ${name}: type "none" takes the option "bind"`);
}

/** The mount that a volume's options ask for; undefined when they ask for none. */
export function driverMount(options: Readonly<Record<string, string>>): DriverMount | undefined {
  const { type = '', device = '', o = '' } = options;
  if (type === '') return undefined;
  const words = o.split(',').filter((word) => word !== '');
  return {
    type,
    source: device,
    options: words.filter((word) => word !== 'bind' && !FLAGS.includes(word)).join(','),
    bind: isBindMount(type, o),
    readOnly: words.includes('ro'),
  };
}

function isBindMount(type: string, o: string): boolean {
  return type === 'bind' || o.split(',').includes('bind');
}
