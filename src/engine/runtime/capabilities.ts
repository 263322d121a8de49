import { invalid } from '#model/errors.ts';

/** Every capability of capabilities(7), in the order of their numbers. */
export const ALL_CAPABILITIES: readonly string[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`);

/** What Docker gives a container that asks for nothing. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
].map((name) => `CAP_${name}`);

/**
 * The capabilities of a container: the default ones, `add` and `drop` applied; `ALL` on one side is refined by the other.
 * Those the daemon does not have itself (`held`) are left out, as nobody can give what he has not got.
 */
export function containerCapabilities(o: {
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
  held: readonly string[];
}): string[] {
  const add = normalise(o.add);
  const drop = normalise(o.drop);
  const chosen = (): readonly string[] => {
    if (o.privileged) return ALL_CAPABILITIES;
    if (add.includes('ALL')) return ALL_CAPABILITIES.filter((name) => !drop.includes(name));
    const base = drop.includes('ALL') ? [] : DEFAULT_CAPABILITIES.filter((name) => !drop.includes(name));
    return [...base, ...add.filter((name) => !base.includes(name))];
  };
  return chosen().filter((name) => o.held.includes(name));
}

function normalise(names: readonly string[]): string[] {
  return names.map((name) => {
    const upper = name.toUpperCase();
    if (upper === 'ALL') return upper;
    const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
    if (!ALL_CAPABILITIES.includes(full))
      throw invalid(`invalid capability: unknown capability: ${JSON.stringify(full)}`);
    return full;
  });
}

/** The names in a mask such as CapBnd of /proc/self/status. */
export function capabilitiesOfMask(hex: string): string[] {
  const mask = BigInt(`0x${hex}`);
  return ALL_CAPABILITIES.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n);
}
