import { lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { deviceOf } from '#linux/rooted-directory.ts';
import type { DeviceMapping } from '#model/container.ts';
import { invalid } from '#model/errors.ts';

/** A device node as the OCI runtime specification writes it. */
export interface OciDevice {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

export interface DeviceRule {
  allow: boolean;
  type?: 'a' | 'b' | 'c';
  major?: number;
  minor?: number;
  access: string;
}

/** What every container may do with devices: make nodes of any kind, use these. */
export const DEFAULT_DEVICE_RULES: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [5, 0],
    [5, 1],
    [5, 2],
    [1, 8],
    [1, 9],
  ].map(([major = 0, minor = 0]): DeviceRule => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

/** `--device`: a node, or all the nodes of a directory. */
export function askedDevices(mappings: readonly DeviceMapping[]): {
  devices: OciDevice[];
  rules: DeviceRule[];
} {
  const devices: OciDevice[] = [];
  const rules: DeviceRule[] = [];
  for (const { PathOnHost, PathInContainer, CgroupPermissions } of mappings) {
    const access = CgroupPermissions === '' ? 'rwm' : CgroupPermissions;
    const target = PathInContainer === '' ? PathOnHost : PathInContainer;
    const found = nodesAt(PathOnHost, target);
    if (found.length === 0) {
      throw invalid(
        `error gathering device information while adding custom device ${JSON.stringify(PathOnHost)}: not a device node`,
      );
    }
    devices.push(...found);
    rules.push(...found.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access })));
  }
  return { devices, rules };
}

/** Every device of the host, for privileged containers; the terminals of others are left out. */
export function hostDevices(): OciDevice[] {
  return nodesAt('/dev', '/dev').filter(({ path }) => path !== '/dev/console');
}

const SKIPPED = new Set(['/dev/pts', '/dev/shm', '/dev/mqueue', '/dev/fd', '/dev/.udev', '/dev/hugepages']);

function nodesAt(source: string, target: string): OciDevice[] {
  const status = statSync(source, { throwIfNoEntry: false });
  if (status === undefined) {
    throw invalid(
      `error gathering device information while adding custom device ${JSON.stringify(source)}: no such file or directory`,
    );
  }
  if (status.isDirectory()) {
    return readdirSync(source).flatMap((name) => {
      const path = join(source, name);
      if (SKIPPED.has(path) || lstatSync(path).isSymbolicLink()) return [];
      return nodesAt(path, join(target, name));
    });
  }
  if (!status.isCharacterDevice() && !status.isBlockDevice()) return [];
  return [
    {
      path: target,
      type: status.isCharacterDevice() ? 'c' : 'b',
      ...deviceOf(BigInt(status.rdev)),
      fileMode: status.mode & 0o777,
      uid: status.uid,
      gid: status.gid,
    },
  ];
}

/** `--device-cgroup-rule`, such as `c 42:* rmw`. */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text);
  if (match === null) throw invalid(`invalid device cgroup rule format: '${text}'`);
  const [, kind, major, minor, access = ''] = match;
  const rule: DeviceRule = { allow: true, access };
  if (kind === 'a' || kind === 'b' || kind === 'c') rule.type = kind;
  if (major !== '*') rule.major = Number(major);
  if (minor !== '*') rule.minor = Number(minor);
  return rule;
}
