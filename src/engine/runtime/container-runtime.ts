import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import {
  cgroupMode,
  cgroupProcesses,
  ownCgroupProcesses,
  rehearseCgroupMove,
  removeCgroup,
} from '#linux/cgroups.ts';
import { startThroughFifo } from '#linux/exec-fifo.ts';
import { processStartTime } from '#linux/process-identity.ts';
import { connectSeqpacket } from '#linux/seqpacket.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { conflict, internal, messageOf } from '#model/errors.ts';
import { capabilitiesOfMask } from './capabilities.ts';
import { CompiledSeccompFilters } from './compiled-seccomp.ts';
import { conmonCreate, conmonExec, conmonPid } from './conmon.ts';
import type { OciProcess, OciSpecification } from './oci-specification.ts';
import { runCommand } from './process-launcher.ts';
import { type ChosenRuntime, chooseRuntime, type RuntimeName } from './runtime-chooser.ts';
import { execFailure, startFailure } from './start-failure.ts';

/** How a container's process ended. */
export interface ExitStatus {
  exitCode: number;
  oomKilled: boolean;
  /** RFC 3339. */
  finishedAt: string;
}

export interface TerminalSize {
  height: number;
  width: number;
}

/** A running exec. */
export interface ExecHandle {
  pid: number;
  /** Packets of a stream number (2 stdout, 3 stderr) and data; writes are stdin. */
  stream: Duplex;
  resize(size: TerminalSize): void;
  exited: Promise<number>;
}

/**
 * conmon and an OCI runtime. All that is known of a container is on disk under the exec root and can be read by the next
 * daemon: `bundles/<id>` (config.json, attach socket, ctl fifo, pid files), `exits/<id>` (the exit code), `oci` (the runtime's).
 */
export class ContainerRuntime implements Disposable {
  readonly name: RuntimeName;
  readonly version: string;
  readonly heldCapabilities: readonly string[];
  /** Where containers of this daemon are in the cgroup tree, unless they ask for another parent. */
  readonly cgroupParent: string;
  readonly #execRoot: string;
  readonly #exits = new Map<string, Set<() => void>>();
  readonly #filters = new CompiledSeccompFilters();
  readonly #closers = new DisposableStack();
  readonly #isOwnParent: boolean;
  readonly #ownProcesses = ownCgroupProcesses();
  #isRehearsing = false;

  private constructor(o: { execRoot: string; cgroupParent?: string; chosen: ChosenRuntime }) {
    this.name = o.chosen.name;
    this.version = o.chosen.version;
    this.#execRoot = o.execRoot;
    const ownParent = `/drover-${o.execRoot.replaceAll('/', '_').replace(/^_/, '')}`;
    this.cgroupParent = o.cgroupParent ?? ownParent;
    this.#isOwnParent = o.cgroupParent === undefined;
    this.heldCapabilities = capabilitiesOfMask(
      /^CapBnd:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0',
    );
    for (const name of ['bundles', 'exits', 'execs', 'oci'])
      mkdirSync(join(o.execRoot, name), { recursive: true, mode: 0o700 });
    const watcher = watch(join(o.execRoot, 'exits'), (_event, id) => {
      if (id !== null) for (const look of this.#exits.get(id) ?? []) look();
    });
    // Containers go on when the daemon has nothing else to do; watching them must not keep it alive.
    watcher.unref();
    this.#closers.defer(() => watcher.close());
  }

  /** Finds a runtime that works; `unavailable` with the reasons where none does. */
  static async probe(o: {
    execRoot: string;
    dataRoot: string;
    log: Logger;
    preferred?: string;
    cgroupParent?: string;
  }): Promise<ContainerRuntime> {
    const chosen = await chooseRuntime({ preferred: o.preferred, log: o.log });
    o.log.info({ runtime: chosen.name, version: chosen.version }, 'runtime chosen');
    const { execRoot, cgroupParent } = o;
    return new ContainerRuntime({
      execRoot,
      chosen,
      ...(cgroupParent === undefined ? {} : { cgroupParent }),
    });
  }

  bundlePath(id: string): string {
    return join(this.#execRoot, 'bundles', id);
  }

  /** To be called some milliseconds before `create`, which is faster then. */
  expectCreate(): void {
    if (this.#isRehearsing || this.#ownProcesses === undefined) return;
    this.#isRehearsing = true;
    const done = (): void => {
      this.#isRehearsing = false;
    };
    // Where it is not allowed, all that is lost is the time.
    rehearseCgroupMove(this.#ownProcesses).then(done, done);
  }

  /** Writes the bundle and creates the container, not started. Undoes itself on error, which is a StartFailure. */
  async create(o: {
    id: string;
    specification: OciSpecification;
    /** Undefined keeps no log. */
    logPath: string | undefined;
    logMaxBytes?: number;
    terminal: boolean;
    stdin: boolean;
    stdinOnce?: boolean;
  }): Promise<{ pid: number; pidStartTime: string }> {
    const directory = this.bundlePath(o.id);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    rmSync(this.#exitPath(o.id), { force: true });
    const specification = this.name === 'crun' ? this.#filters.apply(o.specification) : o.specification;
    writeFileSync(join(directory, 'config.json'), JSON.stringify(specification), { mode: 0o600 });
    try {
      const pid = await conmonCreate({
        ...this.#conmon(),
        containerId: o.id,
        directory,
        exitDir: join(this.#execRoot, 'exits'),
        logPath: o.logPath,
        ...(o.logMaxBytes === undefined ? {} : { logMaxBytes: o.logMaxBytes }),
        terminal: o.terminal,
        stdin: o.stdin,
        leaveStdinOpen: o.terminal || o.stdinOnce !== true,
      });
      if (this.name === 'crun')
        this.#filters.learn(o.specification, join(this.#execRoot, 'oci', o.id, 'seccomp.bpf'));
      return { pid, pidStartTime: processStartTime(pid) ?? '' };
    } catch (error) {
      await this.delete(o.id);
      throw startFailure(messageOf(error), o.specification.process.args[0] ?? '');
    }
  }

  /** Lets a created container run. */
  async start(id: string): Promise<void> {
    const path = join(this.#execRoot, 'oci', id, 'exec.fifo');
    if (this.name === 'crun' && startThroughFifo(path)) return;
    await this.#command('start', id);
  }

  /** Connects to the container's stdio; several may be connected at once. */
  attach(id: string): Duplex {
    return connectSeqpacket(join(this.bundlePath(id), 'attach'));
  }

  resize(id: string, size: TerminalSize): void {
    writeControl(this.bundlePath(id), size);
  }

  /** Sends a signal to the container's first process, or to all of them. A container without a process is a `conflict`. */
  async kill(id: string, signal: number, o: { all?: boolean } = {}): Promise<void> {
    const pids = o.all === true ? this.processes(id) : this.#firstProcess(id);
    if (pids.length === 0) throw conflict(`cannot kill container: ${id}: No such process`);
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if (!hasCode(error, 'ESRCH')) throw error;
      }
    }
  }

  async pause(id: string): Promise<void> {
    await this.#command('pause', id);
  }

  async resume(id: string): Promise<void> {
    await this.#command('resume', id);
  }

  /** Takes away what is left of a container, its processes too. Nothing there is success. */
  async delete(id: string): Promise<void> {
    const state = join(this.#execRoot, 'oci', id);
    const [first] = this.#firstProcess(id);
    if (existsSync(state) && first !== undefined) {
      await runCommand(this.name, ['--root', join(this.#execRoot, 'oci'), 'delete', '--force', id]);
    }
    const monitor = conmonPid(this.bundlePath(id));
    if (monitor !== undefined && this.#isConmonOf(monitor, id) && this.exitStatus(id) === undefined) {
      process.kill(monitor, 'SIGKILL');
    }
    // An ended container is no more than these to a runtime; asking it to delete them takes a process.
    const cgroup = this.#cgroupOf(id);
    if (cgroup !== undefined) removeCgroup(cgroup);
    for (const path of [state, this.bundlePath(id), this.#exitPath(id)])
      rmSync(path, { recursive: true, force: true });
  }

  /** Resolves when conmon has written the exit code, at once where it did so before. Rejects when the signal aborts. */
  exited(id: string, signal?: AbortSignal): Promise<ExitStatus> {
    const { promise, resolve, reject } = Promise.withResolvers<ExitStatus>();
    const watchers = this.#exits.get(id) ?? new Set();
    this.#exits.set(id, watchers);
    const leave = (): void => {
      watchers.delete(look);
      if (watchers.size === 0 && this.#exits.get(id) === watchers) this.#exits.delete(id);
      signal?.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      leave();
      reject(signal?.reason);
    };
    const look = (): void => {
      const status = this.exitStatus(id);
      if (status === undefined) return;
      leave();
      resolve(status);
    };
    watchers.add(look);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    else look();
    return promise;
  }

  /** How the container ended, or undefined while it has not. */
  exitStatus(id: string): ExitStatus | undefined {
    const path = this.#exitPath(id);
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    // Made first and written then: an empty one is not there yet.
    if (text === '') return undefined;
    return {
      exitCode: Number(text),
      oomKilled: this.#oomKilled(id),
      finishedAt: statSync(path).mtime.toISOString(),
    };
  }

  isRunning(o: { id: string; pid: number; pidStartTime: string }): boolean {
    return o.pid > 0 && processStartTime(o.pid) === o.pidStartTime && this.exitStatus(o.id) === undefined;
  }

  /** Whether the container's conmon lives. */
  isMonitored(id: string): boolean {
    const monitor = conmonPid(this.bundlePath(id));
    return monitor !== undefined && this.#isConmonOf(monitor, id);
  }

  /** The containers that something is left of. */
  listBundles(): string[] {
    return [
      ...new Set(['bundles', 'exits', 'oci'].flatMap((name) => readdirSync(join(this.#execRoot, name)))),
    ];
  }

  /** Runs a process in a running container; a StartFailure where that does not work. */
  async exec(o: {
    containerId: string;
    execId: string;
    process: OciProcess;
    terminal: boolean;
    stdin: boolean;
  }): Promise<ExecHandle> {
    const directory = join(this.#execRoot, 'execs', o.execId);
    const exitDir = join(directory, 'exit');
    mkdirSync(exitDir, { recursive: true, mode: 0o700 });
    const processFile = join(directory, 'process.json');
    writeFileSync(processFile, JSON.stringify(o.process), { mode: 0o600 });
    const attached = Promise.withResolvers<Duplex>();
    attached.promise.catch(() => undefined);
    try {
      const { pid, exited } = await conmonExec({
        ...this.#conmon(),
        containerId: o.containerId,
        execId: o.execId,
        directory,
        exitDir,
        logPath: undefined,
        terminal: o.terminal,
        stdin: o.stdin,
        leaveStdinOpen: false,
        processFile,
        attach: () => attached.resolve(connectSeqpacket(join(directory, 'attach'))),
      });
      const stream = await attached.promise;
      const removed = exited.finally(() => rmSync(directory, { recursive: true, force: true }));
      return { pid, stream, exited: removed, resize: (size) => writeControl(directory, size) };
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      attached.promise.then(
        (stream) => stream.destroy(),
        () => undefined,
      );
      throw execFailure(messageOf(error), o.process.args[0] ?? '');
    }
  }

  /** The container's processes, as the host numbers them. */
  processes(id: string): number[] {
    const cgroup = this.#cgroupOf(id);
    return cgroup === undefined ? [] : cgroupProcesses(cgroup);
  }

  /** Containers run on; the daemon's own cgroup goes where none is left in it, one that was named to it stays. */
  [Symbol.dispose](): void {
    this.#closers.dispose();
    if (this.#isOwnParent) removeCgroup(this.cgroupParent);
  }

  #conmon(): { runtime: RuntimeName; runtimeRoot: string } {
    return { runtime: this.name, runtimeRoot: join(this.#execRoot, 'oci') };
  }

  #exitPath(id: string): string {
    return join(this.#execRoot, 'exits', id);
  }

  #firstProcess(id: string): number[] {
    try {
      const pid = Number(readFileSync(join(this.bundlePath(id), 'pidfile'), 'utf8'));
      return this.exitStatus(id) === undefined && processStartTime(pid) !== undefined ? [pid] : [];
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  /** The path that the bundle asked for. */
  #cgroupOf(id: string): string | undefined {
    try {
      const specification: { linux?: { cgroupsPath?: string } } = JSON.parse(
        readFileSync(join(this.bundlePath(id), 'config.json'), 'utf8'),
      );
      return specification.linux?.cgroupsPath;
    } catch (error) {
      // Missing, or half written when the daemon was killed: then nothing was created with it.
      if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** The kernel's own count, in the cgroup that stays until the container is deleted. */
  #oomKilled(id: string): boolean {
    if (existsSync(join(this.bundlePath(id), 'oom'))) return true;
    const cgroup = this.#cgroupOf(id);
    if (cgroup === undefined) return false;
    const file =
      cgroupMode() === 'v2'
        ? join('/sys/fs/cgroup', cgroup, 'memory.events')
        : join('/sys/fs/cgroup/memory', cgroup, 'memory.oom_control');
    if (!existsSync(file)) return false;
    return Number(/^oom_kill (\d+)/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0) > 0;
  }

  /** A pid may belong to somebody else by now. */
  #isConmonOf(pid: number, id: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(id);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ESRCH')) return false;
      throw error;
    }
  }

  async #command(verb: 'start' | 'pause' | 'resume', id: string): Promise<void> {
    const { code, stderr } = await runCommand(this.name, ['--root', join(this.#execRoot, 'oci'), verb, id]);
    if (code !== 0) throw internal(`${this.name} ${verb} ${id}: ${stderr.trim()}`);
  }
}

/** conmon's control fifo: 1 is a new terminal size. A `conflict` where the process has ended. */
function writeControl(directory: string, size: TerminalSize): void {
  let fd: number;
  try {
    fd = openSync(join(directory, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (cause) {
    if (hasCode(cause, 'ENOENT', 'ENXIO')) throw conflict('the process has ended', { cause });
    throw cause;
  }
  try {
    writeSync(fd, `1 ${size.height} ${size.width}\n`);
  } finally {
    closeSync(fd);
  }
}
