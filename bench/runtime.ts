import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isInstalled } from './engines.ts';
import { run, timed } from './process.ts';

/** Bare OCI runtimes, for what is left to save: `run` of a bundle with a plain directory for its root and no network. */
export class BareRuntimes {
  readonly names: readonly string[];
  readonly #directory: string;
  #count = 0;

  constructor(home: string, rootfsArchive: string) {
    this.#directory = join(home, 'bundle');
    this.names = ['crun', 'runc'].filter(isInstalled);
    const rootfs = join(this.#directory, 'rootfs');
    mkdirSync(rootfs, { recursive: true });
    run(['tar', '-xf', rootfsArchive, '-C', rootfs]);
    const [name] = this.names;
    if (name === undefined) return;
    run([name, 'spec', '--bundle', this.#directory]);
    const path = join(this.#directory, 'config.json');
    const text = readFileSync(path, 'utf8')
      .replace('"terminal": true', '"terminal": false')
      .replace(/"args": \[[^\]]*\]/, '"args": ["echo", "hi"]')
      .replace(/"rlimits": \[[^\]]*\],?/, '');
    writeFileSync(path, text);
  }

  /** Milliseconds of one container, from the command to its end. */
  run(name: string): number {
    this.#count += 1;
    return timed([
      ...[name, '--root', join(this.#directory, 'state'), 'run', '--bundle', this.#directory],
      `drover-bench-${process.pid}-${this.#count}`,
    ]);
  }
}
