/** What `uname` and others call an architecture, and what images do. */
const ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ['x86_64', 'amd64'],
  ['x86-64', 'amd64'],
  ['aarch64', 'arm64'],
  ['armhf', 'arm'],
  ['armv6l', 'arm'],
  ['armv7l', 'arm'],
  ['i386', '386'],
  ['i686', '386'],
  ['ppc64el', 'ppc64le'],
]);

/** The name that images have for an architecture: `amd64` for `x86_64`. What is not known stays as it is, in small letters. */
export function architectureName(name: string): string {
  const small = name.toLowerCase();
  return ARCHITECTURES.get(small) ?? small;
}

interface Platform {
  readonly Architecture?: string;
  readonly OS?: string;
}

/** True where `asked` names no other architecture and no other system than `offered`; what it leaves out may be anything. */
export function runsOn(asked: Platform, offered: Platform): boolean {
  const { Architecture = '', OS = '' } = asked;
  return (
    (Architecture === '' ||
      architectureName(Architecture) === architectureName(offered.Architecture ?? '')) &&
    (OS === '' || OS.toLowerCase() === offered.OS?.toLowerCase())
  );
}
