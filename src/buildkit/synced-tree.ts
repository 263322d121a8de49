import { closeSync, mkdirSync, writeSync } from 'node:fs';
import { posix } from 'node:path';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { invalid } from '#model/errors.ts';
import { kindOfMode, modeOfGo } from './go-file-mode.ts';
import type { GrpcClient, GrpcStream } from './grpc-client.ts';
import { type FileStat, PACKET, Packet } from './session-messages.ts';

/** What of a client's directory is asked for. Paths and patterns are relative to it. */
export interface SyncSelection {
  /** The name that the client gave the directory. */
  name: string;
  /** These files alone, links followed. */
  followPaths?: readonly string[];
  /** As in a .dockerignore file. */
  exclude?: readonly string[];
}

const DIFF_COPY = 'moby.filesync.v1.FileSync/DiffCopy';
const LONGEST_PATH = 4096;
const MOST_FILES = 5_000_000;

/** What is known of a file that was synced. */
interface Known {
  mode: number;
  size: number;
  modTime: number;
  linkname: string;
}

/**
 * A copy of a directory of a client's, brought up to date by fsutil's DiffCopy: only files whose size, mode or time is another than
 * the last time are transferred. One sync at a time. Files belong to root, as those of every client's context do.
 */
export class SyncedTree {
  readonly root: string;
  #known: ReadonlyMap<string, Known> = new Map();
  #bytes = 0;
  #isBroken = false;

  /** `root` is made, and must not be there. */
  constructor(root: string) {
    mkdirSync(root, { mode: 0o755 });
    this.root = root;
  }

  /** A sync failed. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Of its files. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Brings it up to date; `report` hears of the bytes that came so far. Where it fails, what is in the tree is not known
   * any more, and it is of no more use.
   */
  async sync(
    client: GrpcClient,
    selection: SyncSelection,
    o: { signal: AbortSignal; report?: (bytes: number) => void },
  ): Promise<void> {
    using directory = new RootedDirectory(this.root);
    using stream = client.stream(DIFF_COPY, { metadata: metadataOf(selection), signal: o.signal });
    const before = this.#known;
    this.#known = new Map();
    try {
      using receiving = new Receiving(stream, directory, before, o.report);
      this.#known = await receiving.run();
    } catch (error) {
      this.#isBroken = true;
      throw error;
    } finally {
      this.#bytes = this.#known.values().reduce((sum, { size }) => sum + size, 0);
    }
  }
}

function metadataOf({ name, followPaths = [], exclude = [] }: SyncSelection): Record<string, string[]> {
  const values = { 'dir-name': [name], followpaths: [...followPaths], 'exclude-patterns': [...exclude] };
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, texts]): [string, string[]][] => {
      // What a header cannot say is encoded, and the client told so.
      const isPlain = texts.every((text) => /^[ -~]*$/.test(text));
      if (texts.length === 0) return [];
      return isPlain
        ? [[key, texts]]
        : [
            [key, texts.map(encodeURIComponent)],
            [`${key}-encoded`, ['1']],
          ];
    }),
  );
}

/** One sync on its way. */
class Receiving implements Disposable {
  readonly #stream: GrpcStream;
  readonly #directory: RootedDirectory;
  readonly #before: ReadonlyMap<string, Known>;
  readonly #report: ((bytes: number) => void) | undefined;
  readonly #now = new Map<string, Known>();
  /** Files whose content was asked for, by their place in the list. */
  readonly #wanted = new Map<number, string>();
  readonly #open = new Map<number, number>();
  /** Directories that were not there before: nothing in them was. */
  readonly #fresh = new Set<string>();
  /** Made when the files are whole. */
  readonly #links: { path: string; existing: string }[] = [];
  #count = 0;
  #bytes = 0;
  #isListed = false;
  #isOver = false;

  constructor(
    stream: GrpcStream,
    directory: RootedDirectory,
    before: ReadonlyMap<string, Known>,
    report: ((bytes: number) => void) | undefined,
  ) {
    this.#stream = stream;
    this.#directory = directory;
    this.#before = before;
    this.#report = report;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open.values()) closeSync(fd);
  }

  async run(): Promise<ReadonlyMap<string, Known>> {
    let isEnded = false;
    for await (const packet of this.#stream.receive(Packet)) {
      switch (packet.type) {
        case PACKET.stat:
          if (packet.stat === undefined) this.#endList();
          else this.#list(packet.stat);
          break;
        case PACKET.data:
          this.#write(packet);
          break;
        case PACKET.error:
          throw invalid(`the client could not send its files: ${Buffer.from(packet.data).toString()}`);
        case PACKET.end:
          if (!this.#isOver) throw invalid('the files ended before their time');
          isEnded = true;
          this.#stream.end();
          break;
        default:
          throw invalid(`a packet of type ${packet.type} came with the files`);
      }
      if (this.#isListed && this.#wanted.size === 0) this.#finish();
    }
    if (!isEnded) throw invalid('the files ended before their time');
    return this.#now;
  }

  #list(stat: Partial<FileStat>): void {
    const path = stat.path ?? '';
    this.#check(path);
    const id = this.#count;
    this.#count += 1;
    const known: Known = {
      mode: modeOfGo(stat.mode ?? 0),
      size: stat.size ?? 0,
      modTime: stat.modTime ?? 0,
      linkname: stat.linkname ?? '',
    };
    const kind = kindOfMode(known.mode);
    if (kind === 'socket') return;
    const before = this.#fresh.has(posix.dirname(path)) ? undefined : this.#before.get(path);
    this.#now.set(path, known);
    const isHardLink = kind === 'file' && known.linkname !== '';
    if (before !== undefined && isSame(before, known) && !isHardLink) return;
    if (before !== undefined && kind === 'directory' && kindOfMode(before.mode) === 'directory') {
      this.#directory.setMode(path, known.mode);
      return;
    }
    if (before !== undefined) this.#directory.remove(path);
    if (isHardLink) this.#links.push({ path, existing: known.linkname });
    else this.#make(path, known, { id, major: stat.devMajor ?? 0, minor: stat.devMinor ?? 0 });
  }

  #make(path: string, known: Known, o: { id: number; major: number; minor: number }): void {
    switch (kindOfMode(known.mode)) {
      case 'directory':
        this.#fresh.add(path);
        this.#directory.makeDirectory(path, known.mode);
        return;
      case 'symlink':
        this.#directory.makeSymlink(known.linkname, path);
        this.#directory.setTimes(path, BigInt(known.modTime));
        return;
      case 'file':
        this.#wanted.set(o.id, path);
        this.#stream.send(Packet, { type: PACKET.request, id: o.id });
        return;
      case 'node':
        this.#directory.makeNode(path, known.mode, o);
        return;
      case 'socket':
    }
  }

  /** Each directory comes before what is in it; nothing comes twice. */
  #check(path: string): void {
    if (this.#isListed) throw invalid(`${path} came after the end of the files' list`);
    if (this.#count >= MOST_FILES) throw invalid(`the context has more than ${MOST_FILES} files`);
    const isPlain =
      path !== '' &&
      path.length <= LONGEST_PATH &&
      !path.includes('\0') &&
      !path.startsWith('/') &&
      !path.endsWith('/') &&
      posix.normalize(path) === path &&
      !['.', '..'].includes(posix.basename(path)) &&
      !path.startsWith('../');
    if (!isPlain) throw invalid(`${JSON.stringify(path.slice(0, 200))} is no path of a file in a context`);
    const parent = posix.dirname(path);
    const isInside = parent === '.' || kindOfMode(this.#now.get(parent)?.mode ?? 0) === 'directory';
    if (!isInside || this.#now.has(path)) throw invalid(`${path} came out of order`);
  }

  #endList(): void {
    if (this.#isListed) throw invalid("the files' list ended twice");
    this.#isListed = true;
    for (const path of [...this.#before.keys()].reverse())
      if (!this.#now.has(path)) this.#directory.remove(path);
  }

  #write({ id, data }: Packet): void {
    const path = this.#wanted.get(id);
    const known = path === undefined ? undefined : this.#now.get(path);
    if (path === undefined || known === undefined)
      throw invalid(`data came of file ${id}, which was not asked for`);
    const fd = this.#open.get(id) ?? this.#directory.createFile(path, known.mode);
    this.#open.set(id, fd);
    for (let done = 0; done < data.length; ) done += writeSync(fd, data, done);
    this.#bytes += data.length;
    this.#report?.(this.#bytes);
    if (data.length > 0) return;
    const { mode, modTime } = known;
    this.#directory.finishFile(fd, { uid: 0, gid: 0, mode, mtimeNs: BigInt(modTime), attributes: [] });
    this.#open.delete(id);
    this.#wanted.delete(id);
    closeSync(fd);
  }

  /** All is there: says so, once. */
  #finish(): void {
    for (const { path, existing } of this.#links.splice(0)) {
      const target = this.#now.get(existing);
      if (target === undefined || kindOfMode(target.mode) !== 'file')
        throw invalid(`${path} is a hard link to ${existing}, which did not come`);
      this.#directory.makeHardLink(existing, path);
    }
    if (!this.#isOver) this.#stream.send(Packet, { type: PACKET.end });
    this.#isOver = true;
  }
}

function isSame(a: Known, b: Known): boolean {
  return a.mode === b.mode && a.size === b.size && a.modTime === b.modTime && a.linkname === b.linkname;
}
