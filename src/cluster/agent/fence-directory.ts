import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId, processStartTime } from '#linux/process-identity.ts';
import { hasCode } from '#linux/system-call-error.ts';

/**
 * What a daemon and its fence keeper tell each other, in `EXEC/fence`: `tasks/<task ID>` holds the cgroup of each task that has to end
 * with the lease, `lease` until when that is good, `keeper` which process looks after it. Everything is written in whole or not at
 * all, by whoever owns it, and either of them may die at any moment. What was written before the machine's restart counts as not
 * there: its uptime and its processes began anew.
 */
export class FenceDirectory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  make(): void {
    mkdirSync(join(this.#path, 'tasks'), { recursive: true, mode: 0o700 });
  }

  /** In milliseconds of the machine's uptime; 0 where there is no lease. */
  validUntilMs(): number {
    const [boot, until = ''] = this.#words('lease');
    return boot === bootId() ? Number(until) : 0;
  }

  extendTo(validUntilMs: number): void {
    this.#write('lease', `${bootId()} ${validUntilMs}`);
  }

  /** The tasks with their cgroups; undefined when the directory is gone. */
  tasks(): Map<string, string> | undefined {
    try {
      const found = readdirSync(join(this.#path, 'tasks')).filter((name) => !name.startsWith('.'));
      const cgroups = found.map((taskId) => [taskId, this.#read(join('tasks', taskId))] as const);
      return new Map(cgroups.flatMap(([taskId, cgroup]) => (cgroup === undefined ? [] : [[taskId, cgroup]])));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  add(taskId: string, cgroup: string): void {
    this.#write(join('tasks', taskId), cgroup);
  }

  delete(taskId: string): void {
    rmSync(join(this.#path, 'tasks', taskId), { force: true });
  }

  /** Whether a keeper lives that has not taken its leave. */
  hasKeeper(): boolean {
    const [boot, pid = '', startTime] = this.#words('keeper');
    return boot === bootId() && processStartTime(Number(pid)) === startTime;
  }

  /** This process is the keeper from now on. */
  enter(): void {
    this.#write('keeper', `${bootId()} ${process.pid} ${processStartTime(process.pid)}`);
  }

  /** This process is not the keeper any more. */
  leave(): void {
    rmSync(join(this.#path, 'keeper'), { force: true });
  }

  #words(name: string): string[] {
    return this.#read(name)?.split(' ') ?? [];
  }

  #read(name: string): string | undefined {
    try {
      return readFileSync(join(this.#path, name), 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  #write(name: string, text: string): void {
    const path = join(this.#path, name);
    const draft = join(this.#path, `.${process.pid}`);
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, path);
  }
}
