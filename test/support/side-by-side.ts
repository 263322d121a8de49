import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { BUSYBOX, eventually } from './docker-host.ts';

const WEB = ['sh', '-c', 'while :; do hostname | nc -l -p 80; done'];

/** An engine by its socket. */
export interface Served {
  readonly socket: string;
}

/** What a command prints that must succeed. */
export function docker({ socket }: Served, ...argv: string[]): string {
  const done = spawnSync('docker', ['-H', `unix://${socket}`, ...argv], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.equal(done.status, 0, `docker ${argv.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
}

/** What a published port of this host says. */
export function ask(port: number): string {
  return spawnSync('busybox', ['nc', '-w', '2', '127.0.0.1', String(port)], {
    encoding: 'utf8',
  }).stdout.trim();
}

/** The same names on both; each has its own containers, networks, volumes, and ports that answer. */
export async function bothWork(one: Served, two: Served): Promise<void> {
  for (const [engine, port] of [
    [one, 18310],
    [two, 18320],
  ] as const) {
    docker(engine, 'import', BUSYBOX, 'bb');
    docker(engine, 'network', 'create', 'front');
    docker(
      engine,
      'run',
      '-d',
      '--name',
      'web',
      '-h',
      `web-${port}`,
      '-p',
      `${port}:80`,
      '-v',
      'data:/data',
      'bb',
      ...WEB,
    );
    docker(engine, 'run', '-d', '--name', 'db', '--network', 'front', 'bb', 'sleep', '1000');
  }
  await eventually(() => ask(18310) === 'web-18310' && ask(18320) === 'web-18320', 'both ports answer');
  for (const engine of [one, two]) {
    assert.equal(docker(engine, 'ps', '--format', '{{.Names}}').split('\n').sort().join(), 'db,web');
    docker(engine, 'run', '--rm', '--network', 'front', 'bb', 'ping', '-c', '1', '-W', '2', 'db');
  }
}

/** Takes away what `bothWork` made. */
export function clear(engine: Served): void {
  docker(engine, 'rm', '-f', '-v', 'web', 'db');
  docker(engine, 'network', 'rm', 'front');
}
