import { closeSync, readFileSync } from 'node:fs';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid } from '#model/errors.ts';

/** Who a process runs as. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  home: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

const LARGEST_FILE = 1024 * 1024;
const LARGEST_ID = 2 ** 31 - 1;

/** Reads a container's passwd(5) and group(5), links resolved inside its root, and finds the user there. */
export function lookUpUser(rootfs: string, user: string, groupAdd: readonly string[]): ResolvedUser {
  using root = new RootedDirectory(rootfs);
  return resolveUser({
    user,
    groupAdd,
    passwd: readInside(root, 'etc/passwd'),
    group: readInside(root, 'etc/group'),
  });
}

/** `user[:group]`, names or numbers; Docker's rules and messages. */
export function resolveUser(o: {
  user: string;
  groupAdd: readonly string[];
  passwd: string;
  group: string;
}): ResolvedUser {
  const users = parsePasswd(o.passwd);
  const groups = parseGroup(o.group);
  const [userPart = '', groupPart] = o.user.split(':');
  const asked = userPart === '' ? '0' : userPart;
  const found = users.find((each) => each.name === asked) ?? users.find((each) => String(each.uid) === asked);
  if (found === undefined && !isId(asked)) {
    throw invalid(`unable to find user ${asked}: no matching entries in passwd file`);
  }
  const uid = found?.uid ?? Number(asked);
  const gid = groupPart === undefined || groupPart === '' ? (found?.gid ?? 0) : groupId(groups, groupPart);
  // A group that is named replaces the memberships, as with Docker.
  const memberships =
    groupPart === undefined && found !== undefined
      ? groups.filter((group) => group.members.includes(found.name)).map((group) => group.gid)
      : [];
  const additionalGids = [...new Set([...memberships, ...o.groupAdd.map((name) => groupId(groups, name))])];
  return { uid, gid, additionalGids, home: found === undefined || found.home === '' ? '/' : found.home };
}

function groupId(groups: readonly GroupEntry[], asked: string): number {
  const found =
    groups.find((each) => each.name === asked) ?? groups.find((each) => String(each.gid) === asked);
  if (found !== undefined) return found.gid;
  if (isId(asked)) return Number(asked);
  throw invalid(`unable to find group ${asked}: no matching entries in group file`);
}

function isId(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= LARGEST_ID;
}

function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
    return isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home }] : [];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.split(':');
    return isId(gid) ? [{ name, gid: Number(gid), members: members.split(',') }] : [];
  });
}

function readInside(root: RootedDirectory, path: string): string {
  let fd: number;
  try {
    fd = root.openForRead(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return '';
    throw error;
  }
  try {
    return readFileSync(fd).subarray(0, LARGEST_FILE).toString('utf8');
  } finally {
    closeSync(fd);
  }
}
