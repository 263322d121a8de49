import { RootedDirectory } from '#linux/rooted-directory.ts';
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
  return resolveUser({ user, groupAdd, ...readUserFiles(rootfs) });
}

/** passwd(5) and group(5) of a root file system, links resolved inside; empty where there are none. */
export function readUserFiles(rootfs: string): { passwd: string; group: string } {
  using root = new RootedDirectory(rootfs);
  const read = (path: string): string =>
    root.readFile(path, LARGEST_FILE)?.subarray(0, LARGEST_FILE).toString('utf8') ?? '';
  return { passwd: read('etc/passwd'), group: read('etc/group') };
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
  // the group itself too: a file that it is denied stays denied when the process drops it
  const added = o.groupAdd.map((name) => groupId(groups, name));
  const additionalGids = [...new Set([gid, ...memberships, ...added])];
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
