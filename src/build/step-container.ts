import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { StreamSession } from '#engine/containers/attach-session.ts';
import { completeConfig } from '#engine/containers/container-config.ts';
import { completeHostConfig } from '#engine/containers/host-config.ts';
import { timestamp } from '#engine/containers/timestamp.ts';
import type { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import { resolveInRoot } from '#engine/layers/resolve-in-root.ts';
import { validateEndpoints } from '#engine/networks/endpoint-request.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import { ociSpecification } from '#engine/runtime/oci-specification.ts';
import { lookUpUser } from '#engine/runtime/user-lookup.ts';
import { cgroupMode } from '#linux/cgroups.ts';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import {
  type ContainerConfig,
  type ContainerRecord,
  CREATED,
  type HostConfig,
  type MountPoint,
} from '#model/container.ts';
import { cancelled } from '#model/errors.ts';

export interface StepCommand {
  diffIds: readonly string[];
  args: readonly string[];
  env: readonly string[];
  user: string;
  workingDir: string;
  mounts: readonly MountPoint[];
  hostConfig: Partial<HostConfig>;
  signal: AbortSignal;
  output: (stream: 'stdout' | 'stderr', data: Buffer) => void;
}

export interface StepOutcome extends AsyncDisposable {
  exitCode: number;
  oomKilled: boolean;
  /** What the command wrote, with overlayfs's marks; undefined where that is nothing. Gone when disposed of. */
  upper: string | undefined;
}

/** Runs the commands of builds in containers that nobody else sees: no record, no log, the engine's own isolation. */
export class StepContainers {
  readonly #filesystems: ContainerFilesystems;
  readonly #networks: NetworkStore;
  readonly #runtime: ContainerRuntime;

  constructor(o: { filesystems: ContainerFilesystems; networks: NetworkStore; runtime: ContainerRuntime }) {
    this.#filesystems = o.filesystems;
    this.#networks = o.networks;
    this.#runtime = o.runtime;
  }

  /** Resolves when the command has ended. What it wrote is the caller's until the outcome is disposed of. */
  async run(command: StepCommand): Promise<StepOutcome> {
    const record = stepRecord(command, this.#runtime.name);
    const { id } = record;
    const filesystems = this.#filesystems;
    await using undo = new AsyncDisposableStack();
    undo.defer(() => filesystems.remove(id));
    filesystems.create(id);
    const status = await this.#execute(command, record);
    const upper = filesystems.upperPath(id);
    removeMountpoints(upper, status.made);
    const kept = undo.move();
    return {
      exitCode: status.exitCode,
      oomKilled: status.oomKilled,
      upper: readdirSync(upper).length === 0 ? undefined : upper,
      [Symbol.asyncDispose]: () => kept.disposeAsync(),
    };
  }

  async #execute(
    command: StepCommand,
    record: ContainerRecord,
  ): Promise<{ exitCode: number; oomKilled: boolean; made: string[] }> {
    const { id, config, hostConfig } = record;
    const filesystems = this.#filesystems;
    const runtime = this.#runtime;
    await using undo = new AsyncDisposableStack();
    runtime.expectCreate();
    undo.defer(() => filesystems.unmount(id));
    const rootfs = filesystems.mount(id, command.diffIds);
    const networkNamespace = this.#join(record, undo);
    const files = filesystems.networkFiles(id);
    writeFileSync(files.hosts, this.#networks.hosts(record));
    writeFileSync(files.hostname, `${config.Hostname}\n`);
    writeFileSync(files.resolvConf, this.#networks.resolvConf(record));
    const specification = ociSpecification({
      container: record,
      rootfs,
      user: lookUpUser(rootfs, config.User, []),
      networkNamespace,
      pidNamespace: undefined,
      ipcNamespace: undefined,
      utsNamespace: undefined,
      cgroupsPath: join(hostConfig.CgroupParent || runtime.cgroupParent, id),
      cgroupVersion: cgroupMode() === 'v2' ? 2 : 1,
      heldCapabilities: runtime.heldCapabilities,
      files,
      initBinary: undefined,
    });
    const made = missingPaths(
      rootfs,
      command.mounts.map(({ Destination }) => Destination),
    );
    undo.defer(() => runtime.delete(id));
    command.signal.throwIfAborted();
    await runtime.create({ id, specification, logPath: undefined, terminal: false, stdin: false });
    const session = new StreamSession({ tty: false, stdin: false, stdout: true, stderr: true });
    session.connect(runtime.attach(id));
    const kill = (): void => {
      // One that has just ended by itself is not there to be killed.
      runtime.kill(id, 9, { all: true }).catch(() => undefined);
    };
    command.signal.addEventListener('abort', kill, { once: true });
    undo.defer(() => command.signal.removeEventListener('abort', kill));
    const exited = runtime.exited(id);
    await runtime.start(id);
    for await (const { stream, data } of session.output) command.output(stream, data);
    const { exitCode, oomKilled } = await exited;
    if (command.signal.aborted) throw cancelled('the build was cancelled');
    return { exitCode, oomKilled, made };
  }

  #join(record: ContainerRecord, undo: AsyncDisposableStack): string | undefined {
    if (record.hostConfig.NetworkMode === 'host') return undefined;
    undo.defer(() => this.#networks.leave(record));
    const joined = this.#networks.join(record);
    record.networks = joined.networks;
    return joined.namespacePath;
  }
}

function stepRecord(command: StepCommand, runtimeName: string): ContainerRecord {
  const id = randomBytes(32).toString('hex');
  const [path = '', ...args] = command.args;
  const asked: Partial<ContainerConfig> = {
    Cmd: [...command.args],
    Env: [...command.env],
    User: command.user,
    WorkingDir: command.workingDir,
  };
  const hostConfig = completeHostConfig(command.hostConfig, {
    cpus: availableParallelism(),
    cgroupVersion: cgroupMode() === 'v2' ? 2 : 1,
    runtimeName,
  });
  return {
    id,
    name: `build-${id.slice(0, 12)}`,
    created: timestamp(),
    imageId: '',
    path,
    args,
    // One name for all, so that what a command notes of it is the same in every build.
    config: completeConfig({ asked, image: {}, hostname: 'buildkitsandbox' }),
    hostConfig,
    networks: validateEndpoints(hostConfig.NetworkMode, {}),
    mounts: [...command.mounts],
    state: { ...CREATED },
    restartCount: 0,
    stoppedByUser: false,
    ports: {},
  };
}

/** The paths, and those above them, that are not in the root yet: the runtime makes them to mount on, and nobody wants them. */
function missingPaths(rootfs: string, destinations: readonly string[]): string[] {
  const missing = new Set<string>();
  for (const destination of destinations) {
    for (let path = destination; path !== '/' && path !== '.'; path = dirname(path)) {
      if (resolveInRoot(rootfs, path) !== undefined) break;
      missing.add(path);
    }
  }
  // The deepest first.
  return [...missing].sort((a, b) => b.length - a.length);
}

/** Takes away what was only there to be mounted on, where the command has not put anything into it. Links it made lead nowhere else. */
function removeMountpoints(upper: string, paths: readonly string[]): void {
  using root = new RootedDirectory(upper);
  for (const path of paths) {
    const status = root.stat(path);
    if (status === undefined) continue;
    const isEmpty = status.isFile ? status.size === 0 : status.isDirectory && root.list(path).length === 0;
    if (isEmpty) root.remove(path);
  }
}
