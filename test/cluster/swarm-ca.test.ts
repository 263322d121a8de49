import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventually } from '../support/docker-host.ts';
import { SwarmCli } from './swarm-cli.ts';

const HOUR_MS = 3600 * 1000;
const NODES = [1, 2, 3];

const cli = await SwarmCli.start('bb');
after(() => cli[Symbol.asyncDispose]());

/** A CA of a user's own. */
function ownRoot(name: string): { certificate: string; key: string; flags: string[] } {
  const [certificate, key] = [`${name}.crt`, `${name}.key`].map((file) => join(cli.cloud.root, file));
  assert.ok(certificate !== undefined && key !== undefined);
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = ['-subj', `/O=Example/CN=${name}`, '-days', '3650'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  return { certificate, key, flags: ['--ca-cert', certificate, '--ca-key', key] };
}

function certificateOf(node: number): X509Certificate {
  const directory = join(cli.cloud.root, 'lib', 'c', 'data', `node${node}`, 'cluster', 'certificates');
  return new X509Certificate(readFileSync(join(directory, 'current', 'node.crt')));
}

async function rootOf(node: number): Promise<string> {
  return await cli.ok('node', 'inspect', `node${node}`, '-f', '{{.Description.TLSInfo.TrustRoot}}');
}

async function isReplacing(): Promise<boolean> {
  return (await cli.ok('info', '-f', '{{.Swarm.Cluster.RootRotationInProgress}}')) === 'true';
}

async function trusted(nodes: readonly number[], root: string): Promise<void> {
  for (const node of nodes)
    await eventually(async () => (await rootOf(node)) === root, `node ${node} trusts the new root alone`);
}

test('a CA of one’s own takes over, and certificates live as long as asked', async () => {
  await cli.create('web', '--mode', 'global', 'bb', 'sleep', '1000');
  await cli.untilReplicas('web', '3/3');
  const { container } = await cli.placeOf('web');
  const { certificate, flags } = ownRoot('first');
  const said = await cli.ok('swarm', 'ca', '--rotate', ...flags, '--cert-expiry', '720h');
  const root = readFileSync(certificate, 'utf8').trim();
  assert.ok(said.endsWith(root), said);
  assert.equal(await cli.ok('swarm', 'ca'), root);
  await trusted(NODES, root);
  for (const node of NODES) {
    const { issuer, validFromDate, validToDate } = certificateOf(node);
    assert.match(issuer, /CN=first/);
    // from up to an hour before it was made, for clocks differ
    const hours = (validToDate.getTime() - validFromDate.getTime()) / HOUR_MS;
    assert.ok(hours >= 720 && hours <= 721, String(hours));
  }
  assert.equal((await cli.placeOf('web')).container, container);
  assert.equal(
    await cli.ok('info', '-f', '{{json .Swarm.Cluster.Spec.CAConfig.NodeCertExpiry}}'),
    String(720 * 3600 * 1e9),
  );
});

test('detached it goes on in the background, and waits for a node that is down; another one has to wait', async () => {
  cli.cloud.ok('stop', 'c', 'node3');
  const down = async (): Promise<boolean> =>
    (await cli.ok('node', 'ls', '--filter', 'name=node3', '--format', '{{.Status}}')) === 'Down';
  await eventually(down, 'node 3 is down');
  assert.equal(await cli.ok('swarm', 'ca', '--rotate', '--detach'), '');
  const root = await cli.ok('swarm', 'ca');
  assert.doesNotMatch(new X509Certificate(root).subject, /CN=first/);
  assert.equal(await isReplacing(), true);
  await eventually(
    () => certificateOf(2).checkIssued(new X509Certificate(root)),
    'node 2 has its certificate',
  );
  await cli.fails(/the CA is being replaced already/, 'swarm', 'ca', '--rotate', '--detach');
  cli.cloud.ok('start', 'c', 'node3');
  await trusted(NODES, root);
  await eventually(async () => !(await isReplacing()), 'the replacement ends');
});

test('a file that does not end its last line is taken, and a worker joins by the new token', async () => {
  const { certificate, flags } = ownRoot('second');
  writeFileSync(certificate, readFileSync(certificate, 'utf8').trim());
  await cli.ok('swarm', 'ca', '--rotate', '--quiet', ...flags);
  await trusted(NODES, readFileSync(certificate, 'utf8'));
  await cli.okOn(3, 'swarm', 'leave');
  const manager = `${cli.cloud.node(1).address}:2377`;
  await cli.okOn(3, 'swarm', 'join', '--token', await cli.ok('swarm', 'join-token', '-q', 'worker'), manager);
  assert.match(certificateOf(3).issuer, /CN=second/);
});

test('what is no CA, or not with its key, is refused, and nothing changes', async () => {
  const root = await cli.ok('swarm', 'ca');
  const [one, other] = [ownRoot('one'), ownRoot('other')];
  const rotate = ['swarm', 'ca', '--rotate', '--detach'];
  await cli.fails(/don't match/, ...rotate, '--ca-cert', one.certificate, '--ca-key', other.key);
  const both = cli.file(
    'both.crt',
    readFileSync(one.certificate, 'utf8') + readFileSync(other.certificate, 'utf8'),
  );
  await cli.fails(/one certificate/, ...rotate, '--ca-cert', both, '--ca-key', one.key);
  const leaf = cli.file('leaf.crt', certificateOf(1).toString());
  await cli.fails(/not a self-signed CA|don't match/, ...rotate, '--ca-cert', leaf, '--ca-key', one.key);
  await cli.fails(/minimum certificate expiry time/, ...rotate, '--cert-expiry', '30m');
  await cli.fails(/requires the `--rotate` flag/, 'swarm', 'ca', '--cert-expiry', '720h');
  assert.equal(await cli.ok('swarm', 'ca'), root);
});
