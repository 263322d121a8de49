import { readDockerfile, readIgnoreFile } from '#build/build-contexts.ts';
import type { ContextSource, SyncDirectory } from '#build/build-request.ts';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { messageOf } from '#model/errors.ts';
import type { ClientSession } from './client-session.ts';
import type { BorrowedTree, SyncedTrees } from './synced-trees.ts';

/** What clients call the directory that is built. */
const MAIN = 'context';
/** How often people hear of a transfer. */
const REPORT_MS = 100;

/** Files of a client's directories, brought here by its session. */
export class SessionFiles {
  readonly #session: ClientSession;
  readonly #trees: SyncedTrees;

  constructor(session: ClientSession, trees: SyncedTrees) {
    this.#session = session;
    this.#trees = trees;
  }

  /** The Dockerfile at `path` of the directory `name`; `ignore` are the patterns of the file that goes with it alone. */
  async dockerfile(
    name: string,
    path: string,
    signal: AbortSignal,
  ): Promise<{ text: string; ignore: readonly string[] | undefined }> {
    const own = `${path}.dockerignore`;
    using files = await this.#borrow(`${name} ${path}`, signal, { name, followPaths: [path, own] });
    using directory = new RootedDirectory(files.tree.root);
    return { text: readDockerfile(files.tree.root, path), ignore: readIgnoreFile(directory, own) };
  }

  /** The directory `name` as a context. Without patterns given it is asked for its own .dockerignore first. */
  context(name: string, ignore?: readonly string[]): ContextSource {
    const sync: SyncDirectory = async ({ onEnd, progress, signal }) => {
      const title = name === MAIN ? 'load build context' : `load build context ${name}`;
      const step = progress.begin(title, 'internal');
      try {
        const exclude = ignore ?? (await this.#ignore(name, signal));
        let toldMs = 0;
        let came = 0;
        const report = (bytes: number): void => {
          came = bytes;
          if (performance.now() - toldMs < REPORT_MS) return;
          toldMs = performance.now();
          step.transfer('transferring', bytes, 0);
        };
        const files = await this.#borrow(name, signal, { name, exclude }, report);
        onEnd(() => files[Symbol.dispose]());
        if (came > 0) step.transfer('transferring', came, came);
        step.done(files.tree.bytes);
        // clients of old do not understand patterns beyond ASCII
        return { root: files.tree.root, isStable: files.isKept, ignore: exclude };
      } catch (error) {
        step.failed(messageOf(error));
        throw error;
      }
    };
    return { kind: 'synced', sync };
  }

  async #ignore(name: string, signal: AbortSignal): Promise<readonly string[]> {
    const followPaths = ['.dockerignore'];
    using files = await this.#borrow(`${name} .dockerignore`, signal, { name, followPaths });
    using directory = new RootedDirectory(files.tree.root);
    return readIgnoreFile(directory, '.dockerignore') ?? [];
  }

  async #borrow(
    what: string,
    signal: AbortSignal,
    selection: { name: string; followPaths?: readonly string[]; exclude?: readonly string[] },
    report?: (bytes: number) => void,
  ): Promise<BorrowedTree> {
    const { sharedKey, client } = this.#session;
    const files = this.#trees.borrow(sharedKey === '' ? undefined : `${sharedKey} ${what}`);
    try {
      await files.tree.sync(client, selection, { signal, ...(report === undefined ? {} : { report }) });
    } catch (error) {
      files[Symbol.dispose]();
      throw error;
    }
    return files;
  }
}
