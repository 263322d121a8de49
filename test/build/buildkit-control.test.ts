import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Definition } from '#buildkit/image-definition.ts';
import { BuildkitClient, regular, type SentFile, sending } from '../support/buildkit-client.ts';
import { eventually, hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();
const data = join(host.daemon.directory, 'data');

afterEach(async () => {
  await eventually(() => readdirSync(join(data, 'builds')).length === 0, 'no build has files');
});

function files(dockerfile: string, ...others: SentFile[]): (directory: string) => SentFile[] {
  const sent = [regular('Dockerfile', dockerfile), ...others];
  return () => sent.toSorted((a, b) => ((a.path ?? '') < (b.path ?? '') ? -1 : 1));
}

let count = 0;
async function open(
  sent: (directory: string) => SentFile[],
  o: { sharedKey?: string; asked?: (path: string) => void } = {},
): Promise<BuildkitClient> {
  count += 1;
  return await BuildkitClient.open(host.socket, `session-${count}`, sending(sent, o.asked), o);
}

test('a build that is asked for directly: its steps are followed, its result is in the daemon', async () => {
  using client = await open(files('FROM bb\nRUN echo said aloud\nCOPY f /f\n', regular('f', 'content')));
  const [worker] = (await client.workers()).record;
  assert.deepEqual(
    worker?.platforms?.map(({ os }) => os),
    ['linux'],
  );
  const solving = client.solve({
    ref: 'direct',
    exporter: 'moby',
    exporterAttrs: { name: 'direct:1,direct:2' },
  });
  const news = await Array.fromAsync(client.status('direct'));
  const response = await solving;
  const names = new Set(news.flatMap(({ vertexes }) => vertexes.map(({ name }) => name)));
  assert.ok(names.has('[stage-0 2/3] RUN echo said aloud'), [...names].join());
  const logs = news.flatMap(({ logs: lines }) => lines.map(({ msg }) => Buffer.from(msg ?? []).toString()));
  assert.equal(logs.join(''), 'said aloud\n');
  const ended = news.flatMap(({ vertexes }) => vertexes).filter(({ completed }) => completed !== undefined);
  assert.equal(ended.length, names.size);
  assert.equal(response['containerimage.config.digest'], host.inspect('direct:1', '{{.Id}}'));
  assert.equal(host.ok('run', '--rm', 'direct:2', 'cat', '/f'), 'content');
});

test('a build by the gateway, as buildx asks for it', async () => {
  using client = await open(files('FROM bb\nARG WHO\nRUN echo $WHO > /who\nLABEL a=b\n'));
  // first it asks what can be done, and builds nothing
  const asking = client.solve({ ref: 'asking', frontend: '' });
  const { frontendCaps } = await client.ping('asking');
  assert.ok(frontendCaps.some(({ id, enabled }) => id === 'return' && enabled));
  await client.gatewayReturn('asking', { result: {} });
  assert.equal(Object.keys(await asking).length, 0);

  const solving = client.solve({
    ref: 'gateway',
    frontend: '',
    exporters: [{ type: 'moby', attrs: { name: 'by-gateway' } }],
  });
  const frontendOpt = { 'build-arg:WHO': 'me', 'label:x': 'y', filename: 'Dockerfile' };
  const { result } = await client.gatewaySolve('gateway', { frontendOpt });
  const config: { config: { Labels: object } } = JSON.parse(
    Buffer.from(result?.metadata?.['containerimage.config'] ?? []).toString(),
  );
  assert.deepEqual(config.config.Labels, { a: 'b', x: 'y' });
  await client.gatewayReturn('gateway', { result: { ref: result?.ref ?? {} } });
  const response = await solving;
  assert.equal(response['image.name'], 'by-gateway');
  assert.equal(host.ok('run', '--rm', 'by-gateway', 'cat', '/who'), 'me');

  // the result as a context of another build, as a bake file's target: has it
  const definition = Definition.encode(result?.ref?.def ?? {});
  const other = client.solve({
    ref: 'other',
    exporter: 'moby',
    exporterAttrs: { name: 'other' },
    frontend: '',
  });
  const onTop = await client.gatewaySolve('other', {
    frontendOpt: { 'context:bb': 'input:it', 'build-arg:WHO': 'you' },
    frontendInputs: { it: definition },
  });
  await client.gatewayReturn('other', { result: { ref: onTop.result?.ref ?? {} } });
  await other;
  assert.equal(host.inspect('other', '{{len .RootFS.Layers}}'), '3');

  const failing = client.solve({ ref: 'failing', frontend: '' });
  const failed = assert.rejects(failing, /the client gave up/);
  await client.gatewayReturn('failing', { error: { code: 2, message: 'the client gave up' } });
  await failed;
});

test('only what changed is asked for again, and another build at the same time has files of its own', async () => {
  const asked: string[] = [];
  const dockerfile = 'FROM bb\nCOPY . /ctx/\n';
  let sent = files(dockerfile, regular('a', 'one'), regular('b', 'two'));
  using client = await open((directory) => sent(directory), {
    sharedKey: 'kept',
    asked: (path) => asked.push(path),
  });
  const build = async (name: string): Promise<void> => {
    await client.solve({ ref: name, exporter: 'moby', exporterAttrs: { name } });
  };
  await build('kept1');
  assert.deepEqual(asked.splice(0).sort(), ['Dockerfile', 'Dockerfile', 'a', 'b']);
  await build('kept2');
  assert.deepEqual(asked.splice(0), []);
  sent = files(dockerfile, regular('a', 'ONE', { modTime: 2e18 }), regular('c', 'new'));
  await build('kept3');
  assert.deepEqual(asked.splice(0).sort(), ['a', 'c']);
  assert.equal(host.ok('run', '--rm', 'kept3', 'sh', '-c', 'cd /ctx; cat a c; ls'), 'ONEnewDockerfile\na\nc');
  await Promise.all([build('side1'), build('side2')]);
  assert.equal(host.inspect('side1', '{{.Id}}'), host.inspect('side2', '{{.Id}}'));
});

test('files that came half are of no use to the next build', async () => {
  const wanted = files('FROM bb\nCOPY a d /ctx/\n', regular('a', 'whole'), regular('d', 'as well'));
  let isBroken = false;
  const sent = (directory: string): SentFile[] => {
    const all = wanted(directory);
    return isBroken ? [...all, regular('../x', 'breaks')] : all;
  };
  using client = await open(sent, { sharedKey: 'half' });
  await client.solve({ ref: 'half1', exporter: 'moby', exporterAttrs: { name: 'half' } });
  isBroken = true;
  await assert.rejects(client.solve({ ref: 'half2' }), /is no path of a file/);
  isBroken = false;
  await client.solve({ ref: 'half3', exporter: 'moby', exporterAttrs: { name: 'half' } });
  assert.equal(host.ok('run', '--rm', 'half', 'cat', '/ctx/a', '/ctx/d'), 'wholeas well');
});

test('what is not there is refused by name', async () => {
  using client = await open(files('FROM bb\n'));
  const refused = async (asked: Parameters<typeof client.solve>[0], message: RegExp): Promise<void> => {
    count += 1;
    await assert.rejects(client.solve({ ref: `refused-${count}`, ...asked }), message);
  };
  await refused({ definition: Buffer.from('llb') }, /LLB of a client's own is not supported/);
  await refused({ frontend: 'gateway.v0' }, /frontend gateway\.v0 is not supported/);
  await refused({ exporter: 'oci' }, /output oci is not supported.*docker save/);
  await refused({ exporters: [{ type: 'moby' }, { type: 'tar' }] }, /a build has one output/);
  await refused({ exporter: 'image', exporterAttrs: { push: 'true' } }, /docker push/);
  const option = (name: string, value: string): { frontendAttrs: Record<string, string> } => ({
    frontendAttrs: { [name]: value },
  });
  await refused(option('warp', 'speed'), /option warp=speed is not supported/);
  await refused(option('platform', 'linux/amd64,linux/arm64'), /several platforms/);
  await refused(option('context:x', 'oci-layout://x'), /context x=oci-layout:\/\/x is not supported/);
  await assert.rejects(
    client.gatewaySolve('nothing', { definition: Buffer.from('llb') }),
    /LLB of a client's own is not supported/,
  );
  await refused(option('requestid', 'frontend.lint'), /frontend\.lint is not there/);
  await refused(option('ulimit', 'nofile'), /ulimit nofile is not NAME=SOFT/);
  await refused({ cache: { imports: [{ type: 'gha' }] } }, /caches of type gha are not supported/);
});

test('a client that leaves ends its build', async () => {
  const client = await open(files('FROM bb\nRUN sleep 1000\n'));
  const solving = assert.rejects(client.solve({ ref: 'left' }));
  const follow = client.status('left');
  for await (const { vertexes } of follow) if (vertexes.some(({ name }) => name?.includes('sleep'))) break;
  client[Symbol.dispose]();
  await solving;
});
