import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

/** What another kernel than this machine's is run with, as files on this machine. */
export interface MachineParts {
  readonly qemu: string;
  /** Serves files of this machine to the other one. */
  readonly virtiofsd: string;
  /** What QEMU and kmod find their libraries by. */
  readonly environment: Readonly<Record<string, string>>;
  /** Directories with QEMU's firmware, as its `-L` takes them. */
  readonly firmware: readonly string[];
  readonly busybox: string;
  readonly kernel: string;
  /** `lib/modules/VERSION`, with modules.dep. */
  readonly modules: string;
  /** A directory with modprobe and what it needs. */
  readonly kmod: string;
}

interface Architecture {
  readonly qemuPackage: string;
  readonly qemu: string;
  readonly kernelPackage: string;
}

const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, Architecture>>> = {
  x64: {
    qemuPackage: 'qemu-system-x86',
    qemu: 'qemu-system-x86_64',
    kernelPackage: 'linux-image-cloud-amd64',
  },
  arm64: {
    qemuPackage: 'qemu-system-arm',
    qemu: 'qemu-system-aarch64',
    kernelPackage: 'linux-image-cloud-arm64',
  },
};

/**
 * Gets QEMU and Debian's kernel by apt-get and unpacks them into `directory`; nothing is installed. What is there is taken as it is.
 * Throws with what to do where that cannot be.
 */
export function machineParts(directory: string): MachineParts {
  const kind = ARCHITECTURES[process.arch];
  if (kind === undefined) throw new Error(`there is no machine for processors of kind ${process.arch}`);
  const root = join(directory, 'root');
  if (!existsSync(root)) fetchParts(kind, directory);
  const [version = ''] = readdirSync(join(root, 'lib/modules'));
  return {
    qemu: join(root, 'usr/bin', kind.qemu),
    virtiofsd: join(root, 'usr/lib/qemu/virtiofsd'),
    environment: librariesOf(root),
    firmware: ['usr/share/qemu', 'usr/share/seabios'].map((path) => join(root, path)),
    busybox: join(root, 'bin/busybox'),
    kernel: join(root, 'boot', `vmlinuz-${version}`),
    modules: join(root, 'lib/modules', version),
    kmod: root,
  };
}

/** The directory appears when it is whole. */
function fetchParts(kind: Architecture, directory: string): void {
  console.log(`getting ${kind.qemuPackage} and ${kind.kernelPackage}`);
  const packages = join(directory, 'packages');
  const unpacked = join(directory, 'root.new');
  rmSync(unpacked, { recursive: true, force: true });
  mkdirSync(join(packages, 'partial'), { recursive: true });
  mkdirSync(unpacked);
  try {
    apt(['update', '-q']);
    // with all that this machine does not have of what they need
    apt([
      ...['install', '--download-only', '--reinstall', '-yq', '--no-install-recommends'],
      ...['-o', `Dir::Cache::archives=${packages}`, '-o', 'APT::Sandbox::User=root'],
      ...[kind.qemuPackage, 'busybox-static', 'kmod', 'libkmod2'],
    ]);
    apt(['download', '-q', '-o', 'APT::Sandbox::User=root', kernelOf(kind.kernelPackage)], packages);
    for (const name of readdirSync(packages).filter((file) => file.endsWith('.deb')))
      run('dpkg-deb', ['-x', join(packages, name), unpacked]);
    // they lead to the machine's own
    for (const name of ['depmod', 'modprobe']) {
      rmSync(join(unpacked, 'sbin', name), { force: true });
      symlinkSync('../bin/kmod', join(unpacked, 'sbin', name));
    }
    const [version = ''] = readdirSync(join(unpacked, 'lib/modules'));
    run(join(unpacked, 'sbin/depmod'), ['-b', unpacked, version], librariesOf(unpacked));
    renameSync(unpacked, join(directory, 'root'));
  } finally {
    rmSync(packages, { recursive: true, force: true });
    rmSync(unpacked, { recursive: true, force: true });
  }
}

function librariesOf(root: string): { LD_LIBRARY_PATH: string } {
  const directories = ['usr/lib', 'lib'].flatMap((path) =>
    readdirSync(join(root, path))
      .filter((name) => name.includes('-linux-gnu'))
      .map((name) => join(root, path, name)),
  );
  return { LD_LIBRARY_PATH: directories.join(':') };
}

/** The package of the newest kernel, which the given one stands for. */
function kernelOf(name: string): string {
  const said = run('apt-cache', ['depends', '--important', name]);
  const [, kernel] = /Depends: (linux-image-\S+)/.exec(said) ?? [];
  if (kernel === undefined)
    throw new Error(`apt knows no kernel for ${name}: does it know Debian's packages?`);
  return kernel;
}

/** Modules in the order in which they have to be loaded for `names` to work; those that are built in are left out. */
export function moduleFiles(modules: string, names: readonly string[]): string[] {
  const needs = new Map<string, readonly string[]>();
  for (const line of readFileSync(join(modules, 'modules.dep'), 'utf8').split('\n')) {
    const [file = '', after = ''] = line.split(':');
    if (file !== '') needs.set(file, after.trim().split(' ').filter(Boolean));
  }
  const builtIn = readFileSync(join(modules, 'modules.builtin'), 'utf8').split('\n').map(moduleName);
  const files: string[] = [];
  for (const name of names) {
    const file = [...needs.keys()].find((path) => moduleName(path) === name);
    if (file === undefined && builtIn.includes(name)) continue;
    if (file === undefined) throw new Error(`the kernel has no module ${name}`);
    // modules.dep names what is to be loaded first last
    files.push(...(needs.get(file) ?? []).toReversed(), file);
  }
  return [...new Set(files)].map((file) => join(modules, file));
}

function moduleName(path: string): string {
  return (path.split('/').at(-1) ?? '').replace(/\.ko.*$/, '').replaceAll('-', '_');
}

function apt(args: readonly string[], cwd?: string): void {
  run('apt-get', args, { DEBIAN_FRONTEND: 'noninteractive' }, cwd);
}

function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  cwd?: string,
): string {
  const done = spawnSync(program, args, {
    ...(cwd === undefined ? {} : { cwd }),
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  if (done.status === 0) return done.stdout;
  throw new Error(`${program} ${args.join(' ')}:\n${done.error?.message ?? ''}${done.stdout}${done.stderr}`);
}
