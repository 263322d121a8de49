import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DROVER } from './api-daemon.ts';
import type { DockerHost, Result } from './docker-host.ts';

const LIMIT_MS = 100_000;

/** A directory with a Dockerfile, built by `drover build`. Gone with its host. */
export class BuildProject {
  readonly path: string;
  readonly #host: DockerHost;

  constructor(host: DockerHost, files: Record<string, string>) {
    this.#host = host;
    this.path = mkdtempSync(join(host.directory, 'project-'));
    for (const [name, text] of Object.entries(files)) this.write(name, text);
  }

  write(name: string, text: string): void {
    const file = join(this.path, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  /** `drover ARGUMENTS` in the project's directory. */
  drover(arguments_: readonly string[], o: { env?: Record<string, string>; input?: string } = {}): Result {
    return spawnSync(DROVER, ['-H', `unix://${this.#host.socket}`, ...arguments_], {
      cwd: this.path,
      encoding: 'utf8',
      timeout: LIMIT_MS,
      maxBuffer: 64 << 20,
      env: { ...process.env, DOCKER_CONFIG: join(this.#host.directory, 'docker-config'), ...o.env },
      input: o.input ?? '',
    });
  }

  /** Builds what must succeed; gives the image ID. */
  build(...flags: string[]): string {
    return this.buildWith({}, ...flags);
  }

  buildWith(env: Record<string, string>, ...flags: string[]): string {
    const done = this.drover(['build', '-q', ...flags, '.'], { env });
    assert.equal(done.status, 0, `drover build ${flags.join(' ')}: ${done.stderr}`);
    return done.stdout.trim();
  }

  /** Builds in plain progress; gives what it says. */
  log(...flags: string[]): string {
    const done = this.drover(['build', '--progress', 'plain', ...flags, '.']);
    assert.equal(done.status, 0, done.stderr);
    return done.stderr;
  }

  /** Builds what must fail; gives what it says. */
  fails(message: RegExp, ...flags: string[]): string {
    const done = this.drover(['build', ...flags, '.']);
    assert.notEqual(done.status, 0, `it was built: ${done.stdout}`);
    assert.match(done.stderr, message);
    return done.stderr;
  }

  /** Builds, and runs a command in the result. */
  run(flags: readonly string[], ...command: string[]): string {
    const id = this.build(...flags);
    return this.#host.ok('run', '--rm', id, ...command);
  }
}
