import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CloudView, NodeView } from '#cloud/cloud-view.ts';
import { DROVER } from './api-daemon.ts';
import type { Result } from './docker-host.ts';
import { patience } from './patience.ts';

const LIMIT_MS = patience(60_000);

/** `drover cloud` on a root of its own, with one cloud, `c`; nothing of it is left when it is disposed of. */
export class TestCloud implements AsyncDisposable {
  readonly root: string = mkdtempSync(join(tmpdir(), 'dc-'));

  /** A cloud that is up; `flags` as of `drover cloud up`. */
  static async up(...flags: string[]): Promise<TestCloud> {
    const cloud = new TestCloud();
    try {
      cloud.ok('up', 'c', ...flags);
    } catch (error) {
      await cloud[Symbol.asyncDispose]();
      throw error;
    }
    return cloud;
  }

  /** Runs a command of `drover cloud` to its end. */
  run(...argv: string[]): Result {
    return spawnSync(DROVER, ['cloud', '--root', this.root, ...argv], {
      encoding: 'utf8',
      timeout: LIMIT_MS,
    });
  }

  /** What one prints that must succeed. */
  ok(...argv: string[]): string {
    const { status, stdout, stderr } = this.run(...argv);
    assert.equal(status, 0, `drover cloud ${argv.join(' ')}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  /** Starts one, and kills it as soon as `isTime`; false when it was faster. */
  async interrupted(isTime: () => boolean, ...argv: string[]): Promise<boolean> {
    const command = spawn(DROVER, ['cloud', '--root', this.root, ...argv], { stdio: 'ignore' });
    const ended = once(command, 'exit');
    while (command.exitCode === null && !isTime()) await new Promise((resolve) => setTimeout(resolve, 1));
    const isInTime = command.exitCode === null;
    command.kill('SIGKILL');
    await ended;
    return isInTime;
  }

  view(): CloudView {
    const view: CloudView = JSON.parse(this.ok('ls', 'c', '--format', 'json'))[0];
    return view;
  }

  /** Nodes are counted from 1. */
  node(number: number): NodeView {
    const node = this.view().nodes[number - 1];
    assert.ok(node !== undefined, `there is no node ${number}`);
    return node;
  }

  socket(number: number): string {
    return join(this.root, 'run', 'c', `node${number}`, 'drover.sock');
  }

  /** A docker command on a node, to its end; others can go on meanwhile. */
  async dockerResult(number: number, argv: readonly string[], stdin = ''): Promise<Result> {
    const child = spawn('docker', ['-H', `unix://${this.socket(number)}`, ...argv], { timeout: LIMIT_MS });
    const result = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      result.stdout += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      result.stderr += String(chunk);
    });
    // a command may end before it has read its input
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
    const [status] = await once(child, 'close');
    return { status: Number(status), ...result };
  }

  /** What a docker command on a node prints, which must succeed. */
  docker(number: number, ...argv: string[]): string {
    const done = spawnSync('docker', ['-H', `unix://${this.socket(number)}`, ...argv], {
      encoding: 'utf8',
      timeout: LIMIT_MS,
    });
    assert.equal(done.status, 0, `docker ${argv.join(' ')} on node ${number}: ${done.stderr}`);
    return done.stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.run('ls', 'c').status === 0) this.ok('down', 'c');
    rmSync(this.root, { recursive: true, force: true });
    await Promise.resolve();
  }
}
