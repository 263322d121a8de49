import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

const CONVERGENCE_LIMIT_MS = 40_000;

/** A swarm of three nodes, the first of them its manager, driven by the docker CLI. */
export class SwarmCli implements AsyncDisposable {
  readonly cloud: TestCloud;

  private constructor(cloud: TestCloud) {
    this.cloud = cloud;
  }

  /** With a busybox on the manager under each of the names: the other nodes fetch it from there. */
  static async start(...images: string[]): Promise<SwarmCli> {
    const cloud = await TestCloud.up('--nodes', '3', '--managers', '1');
    for (const image of images) cloud.docker(1, 'import', BUSYBOX, image);
    return new SwarmCli(cloud);
  }

  /** What a command on the manager prints, which must succeed. */
  async ok(...argv: string[]): Promise<string> {
    return await this.okOn(1, ...argv);
  }

  async okOn(node: number, ...argv: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.cloud.dockerResult(node, argv);
    assert.equal(status, 0, `docker ${argv.join(' ')} on node ${node}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  /** What one on the manager that must fail says. */
  async fails(message: RegExp, ...argv: string[]): Promise<void> {
    const { status, stdout, stderr } = await this.cloud.dockerResult(1, argv);
    assert.notEqual(status, 0, `docker ${argv.join(' ')} succeeded: ${stdout}`);
    assert.match(stderr, message);
  }

  /** Makes a service without waiting for it. */
  async create(name: string, ...rest: string[]): Promise<void> {
    await this.ok('service', 'create', '--detach', '--quiet', '--name', name, ...rest);
  }

  /** As `docker service ls` shows them. */
  async replicas(name: string): Promise<string> {
    return await this.ok('service', 'ls', '--filter', `name=${name}`, '--format', '{{.Replicas}}');
  }

  async untilReplicas(name: string, wanted: string): Promise<void> {
    const is = async (): Promise<boolean> => (await this.replicas(name)) === wanted;
    await eventually(is, `${name} has ${wanted}`, CONVERGENCE_LIMIT_MS);
  }

  async updateState(name: string): Promise<string> {
    const format = '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}';
    return await this.ok('service', 'inspect', name, '--format', format);
  }

  /** The node (from 1) and the container of a running task of a service. */
  async placeOf(name: string): Promise<{ node: number; container: string }> {
    const running = ['--format', '{{.Node}}', '--filter', 'desired-state=running'];
    const [node = ''] = (await this.ok('service', 'ps', name, ...running)).split('\n');
    const number = Number(node.replace('node', ''));
    const label = `label=com.docker.swarm.service.name=${name}`;
    const [container = ''] = (await this.okOn(number, 'ps', '-q', '--filter', label)).split('\n');
    return { node: number, container };
  }

  /** What a shell command prints in a task of a service. */
  async inTask(name: string, script: string): Promise<string> {
    const { node, container } = await this.placeOf(name);
    return await this.okOn(node, 'exec', container, 'sh', '-c', script);
  }

  /** The path of a file with this content, in the cloud's own directory. */
  file(name: string, content: string): string {
    const path = join(this.cloud.root, name);
    writeFileSync(path, content);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cloud[Symbol.asyncDispose]();
  }
}
