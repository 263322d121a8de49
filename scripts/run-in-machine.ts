import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type CpioEntry, cpio } from './cpio.ts';
import { type MachineParts, machineParts, moduleFiles } from './machine-parts.ts';

/**
 * Runs node's tests in a machine of its own: Debian's kernel in QEMU, on this machine's files, which it sees and cannot change. What it
 * writes is gone with it. It has pure cgroup v2, no network, and its kernel can do what this one's may not, such as IPsec.
 *
 *     sh scripts/node scripts/run-in-machine.ts [--limit SECONDS] [--memory MIB] [--name PATTERN] FILE…
 *
 * Gives the tests' exit code; 1 with the machine's console where there is none.
 */
const ROOT = join(import.meta.dirname, '..');
const CACHE = join(ROOT, '.cache/machine');
/** What it takes to get to this machine's files. */
const FIRST_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_console', 'virtiofs', 'ext4', 'overlay'];
const DISK_BYTES = 16 * 2 ** 30;
/** What the machine says of its own start, when something went wrong. */
const CONSOLE_LINES = 40;
const LOOK_EVERY_MS = 20;

interface Settings {
  readonly limitMs: number;
  readonly memoryMib: number;
  readonly test: readonly string[];
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      limit: { type: 'string', default: '3000' },
      memory: { type: 'string', default: '4096' },
      name: { type: 'string', default: '.' },
    },
  });
  if (positionals.length === 0) {
    console.error('run-in-machine: which test files?');
    return 2;
  }
  const files = positionals.filter((file) => !existsSync(join(ROOT, file)));
  if (files.length > 0) {
    console.error(`run-in-machine: ${files.join(' ')}: there is no such file`);
    return 2;
  }
  return await runMachine(machineParts(CACHE), {
    limitMs: Number(values.limit) * 1000,
    memoryMib: Number(values.memory),
    test: [
      '--test',
      `--test-concurrency=${hasKvm() ? 2 : 1}`,
      '--test-timeout=600000',
      `--test-name-pattern=${values.name}`,
      ...positionals,
    ],
  });
}

async function runMachine(parts: MachineParts, settings: Settings): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-machine-'));
  const path = (name: string): string => join(directory, name);
  try {
    writeFileSync(path('initramfs'), initramfs(parts, settings));
    closeSync(openSync(path('disk'), 'w', 0o600));
    truncateSync(path('disk'), DISK_BYTES);
    const env = { ...process.env, ...parts.environment };
    const files = await serveFiles(parts, directory);
    const machine = spawn(parts.qemu, qemuArguments(parts, settings, path), {
      env,
      // its end takes no output once its input has ended
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // gone with this process, however it ends
    const end = (): void => {
      machine.kill('SIGKILL');
      files.kill('SIGKILL');
    };
    process.once('exit', end);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
    machine.stdout.pipe(process.stdout, { end: false });
    const limit = setTimeout(() => {
      console.error(`run-in-machine: not over within ${settings.limitMs / 1000} s; --limit gives it more`);
      end();
    }, settings.limitMs);
    await once(machine, 'close');
    clearTimeout(limit);
    end();
    process.off('exit', end);
    const code = existsSync(path('code')) ? readFileSync(path('code'), 'utf8').trim() : '';
    if (code !== '') return Number(code);
    const said = existsSync(path('console')) ? readFileSync(path('console'), 'utf8') : '';
    console.error(`run-in-machine: the machine gave no result; its console:\n${lastLines(said)}`);
    return 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Resolves when the machine can have this one's files, at the socket `files`. */
async function serveFiles(parts: MachineParts, directory: string): Promise<ChildProcess> {
  const log = join(directory, 'files.log');
  const descriptor = openSync(log, 'w', 0o600);
  const server = spawn('unshare', ['--mount', '--', '/bin/sh', '-c', fileServer(parts, directory)], {
    env: { ...process.env, ...parts.environment },
    // what it says when the machine ends is no news
    stdio: ['ignore', 'ignore', descriptor],
  });
  closeSync(descriptor);
  while (!existsSync(join(directory, 'files'))) {
    if (server.exitCode !== null)
      throw new Error(`this machine's files cannot be served:\n${readFileSync(log, 'utf8')}`);
    await delay(LOOK_EVERY_MS);
  }
  return server;
}

/** Serves all of this machine's files from a mount namespace in which none can be written. */
function fileServer({ virtiofsd }: MachineParts, directory: string): string {
  return [
    'set -e',
    'mount --make-rprivate /',
    // where it keeps a lock
    'mount -t tmpfs tmpfs /run',
    'mkdir /run/root',
    'mount --rbind / /run/root',
    'mount -o remount,bind,ro /run/root',
    `exec ${quoted(virtiofsd)} --socket-path=${quoted(join(directory, 'files'))} -o source=/run/root,cache=always,xattr,log_level=err`,
  ].join('\n');
}

function qemuArguments(
  { kernel, firmware }: MachineParts,
  { memoryMib }: Settings,
  path: (name: string) => string,
): string[] {
  const serial = process.arch === 'x64' ? 'ttyS0' : 'ttyAMA0';
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    // some machines do not let the capabilities of their processor's kind be handed on
    ...(process.arch === 'x64'
      ? ['-machine', 'q35', '-cpu', 'max,arch-capabilities=off']
      : ['-machine', 'virt', '-cpu', 'max']),
    ...['-accel', hasKvm() ? 'kvm' : 'tcg,thread=multi,tb-size=1024'],
    ...['-smp', String(availableParallelism()), '-m', String(memoryMib), '-numa', 'node,memdev=memory'],
    ...['-object', `memory-backend-memfd,id=memory,size=${memoryMib}M,share=on`],
    ...firmware.flatMap((directory) => ['-L', directory]),
    ...['-kernel', kernel, '-initrd', path('initramfs')],
    ...['-append', `console=${serial} quiet panic=-1 mitigations=off`],
    ...['-serial', `file:${path('console')}`],
    ...['-chardev', `socket,id=files,path=${path('files')}`],
    ...['-device', 'vhost-user-fs-pci,chardev=files,tag=host'],
    ...['-drive', `if=none,id=disk,format=raw,cache=unsafe,file=${path('disk')}`],
    ...['-device', 'virtio-blk-pci,drive=disk'],
    ...['-device', 'virtio-serial-pci'],
    ...['-chardev', 'stdio,id=output,signal=off'],
    ...['-device', 'virtserialport,chardev=output,name=output'],
    ...['-chardev', `file,id=code,path=${path('code')}`],
    ...['-device', 'virtserialport,chardev=code,name=code'],
  ];
}

/** Where the processor is another machine's that is none of its kind, KVM runs only kernels made for it. */
function hasKvm(): boolean {
  if (existsSync('/sys/module/kvm_pvm')) return false;
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The machine's first files, of which the kernel makes its first root. */
function initramfs(parts: MachineParts, settings: Settings): Buffer {
  const script = (name: string): Buffer => readFileSync(join(ROOT, 'scripts', name));
  const modules = moduleFiles(parts.modules, FIRST_MODULES).map((file, index): CpioEntry => {
    const number = String(index).padStart(3, '0');
    return { path: `modules/${number}-${file.split('/').at(-1)}`, mode: 0o644, content: readFileSync(file) };
  });
  return cpio([
    { path: 'bin', mode: 0o755 },
    { path: 'bin/busybox', mode: 0o755, content: readFileSync(parts.busybox) },
    { path: 'modules', mode: 0o755 },
    ...modules,
    { path: 'init', mode: 0o755, content: script('machine-init.sh') },
    { path: 'shared', mode: 0o644, content: Buffer.from(sharedPaths(parts)) },
    { path: 'start', mode: 0o644, content: Buffer.from(startScript(parts, settings)) },
  ]);
}

/** What of the host the machine sees besides its root: what is below /tmp is hidden by its own. */
function sharedPaths(parts: MachineParts): string {
  const hidden = [ROOT].filter((path) => path.startsWith('/tmp/'));
  return [
    `shared=${quoted(hidden.join(' '))}`,
    `modules=${quoted(join(parts.modules, '..'))}`,
    `libraries=${quoted(parts.environment['LD_LIBRARY_PATH'] ?? '')}`,
    `modprobe=${quoted(join(parts.kmod, 'sbin/modprobe'))}`,
    '',
  ].join('\n');
}

/** The program of the machine once it has its root. */
function startScript(parts: MachineParts, { test }: Settings): string {
  const command = ['unshare', '--net', '--mount', '--', process.execPath, ...process.execArgv];
  const environment = {
    PATH: `${process.env['PATH'] ?? ''}:${join(ROOT, '.cache/peers/usr/bin')}:${join(parts.kmod, 'sbin')}`,
    HOME: '/root',
    LANG: process.env['LANG'] ?? 'C.UTF-8',
    // limits of tests are those of a machine whose instructions are not computed
    DROVER_TEST_PATIENCE: hasKvm() ? '1' : '10',
  };
  return [
    ...Object.entries(environment).map(([name, value]) => `export ${name}=${quoted(value)}`),
    'port() { grep -lx "$1" /sys/class/virtio-ports/*/name | sed "s,/sys/class/virtio-ports/,/dev/,; s,/name,,"; }',
    `cd ${quoted(ROOT)}`,
    `{ ${[...command, 'scripts/run-isolated.ts', ...test].map(quoted).join(' ')}; echo $? > /run/code; } 2>&1 | cat > "$(port output)"`,
    'cat /run/code > "$(port code)"',
    // what is in the two ports goes out first
    'sync; sleep 1',
    'echo o > /proc/sysrq-trigger; sleep 60',
    '',
  ].join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function lastLines(text: string): string {
  return text.trimEnd().split('\n').slice(-CONSOLE_LINES).join('\n');
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`run-in-machine: ${error instanceof Error ? error.message : String(error)}`);
  return 1;
});
