import 'reflect-metadata';
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { createExternalAuthority } from '#cluster/ca/external-authority.ts';
import type { IssuedCertificate } from '#cluster/ca/join-handler.ts';
import { createRoot } from '#cluster/ca/root-certificate.ts';
import { systemClock } from '#control/clock.ts';
import { CfsslServer, type Wrong } from '../support/cfssl-server.ts';
import { eventually } from '../support/docker-host.ts';
import { SwarmCli } from './swarm-cli.ts';

const CLUSTER = 'c'.repeat(25);
const NODE = 'n'.repeat(25);

suite('an authority that has an external CA sign', async () => {
  const root = await createRoot(CLUSTER, Date.now());
  const server = await CfsslServer.start(root, '127.0.0.1');
  after(() => server[Symbol.asyncDispose]());

  async function issue(
    urls: readonly string[] = [server.url],
    rootCertificate = root.certificate,
  ): Promise<IssuedCertificate> {
    const authority = { urls, rootCertificate, client: undefined };
    const { csr } = await createRequest();
    const external = createExternalAuthority({ clusterId: CLUSTER, authority, clock: systemClock });
    return await external.issue(csr, NODE, 'worker', ['10.0.0.7']);
  }

  test('says who the certificate is for, and gives what comes back', async () => {
    const { certificate, roots } = await issue();
    assert.equal(roots, root.certificate);
    const leaf = new X509Certificate(certificate);
    assert.deepEqual(leaf.subject.split('\n').sort(), [`CN=${NODE}`, `O=${CLUSTER}`, 'OU=swarm-worker']);
    assert.match(leaf.subjectAltName ?? '', /10\.0\.0\.7/);
    const [asked] = server.asked;
    assert.deepEqual(asked?.subject, { CN: NODE, names: [{ OU: 'swarm-worker', O: CLUSTER }] });
  });

  test('takes nothing that is not what was asked for', async () => {
    const other = await createRoot(CLUSTER, Date.now());
    const cases: [Wrong, RegExp][] = [
      [{ subject: { CN: NODE, names: [{ OU: 'swarm-manager', O: CLUSTER }] } }, /somebody else/],
      [{ subject: { CN: 'm'.repeat(25), names: [{ OU: 'swarm-worker', O: CLUSTER }] } }, /somebody else/],
      [{ subject: { CN: NODE, names: [{ OU: 'swarm-worker', O: 'd'.repeat(25) }] } }, /somebody else/],
      [{ subject: { names: [] } }, /somebody else/],
      [{ anotherKey: true }, /another key/],
      [{ root: other }, /root did not sign it/],
      [{ lifeMs: 60_000 }, /an hour at least/],
      [{ isCa: true }, /not for TLS servers and clients/],
      [{ usages: ['1.3.6.1.5.5.7.3.1'] }, /not for TLS servers and clients/],
      [{ body: 'no JSON' }, /status 200, and no certificate/],
      [{ body: JSON.stringify({ success: false, errors: [{ message: 'policy' }] }) }, /sign: policy/],
      [{ body: JSON.stringify({ success: true, result: { certificate: 'x' } }) }, /no PEM certificate/],
      [{ body: 'x'.repeat(100_000) }, /more than 65536 bytes/],
    ];
    for (const [wrong, message] of cases) {
      server.wrong = wrong;
      await assert.rejects(issue(), message, JSON.stringify(wrong));
    }
    server.wrong = {};
    await assert.rejects(issue(undefined, other.certificate), /no external CA signed: https.*certificate/s);
  });

  test('asks the next one where one does not answer', async () => {
    await issue(['https://127.0.0.1:1/sign', server.url]);
    await assert.rejects(issue(['https://127.0.0.1:1/sign']), /no external CA signed: https:.*ECONNREFUSED/);
  });
});

suite('docker swarm with an external CA', async () => {
  const cli = await SwarmCli.start('bb');
  after(() => cli[Symbol.asyncDispose]());
  const root = await createRoot('e'.repeat(25), Date.now());
  const [gateway = ''] = [cli.cloud.node(1).address.replace(/\d+$/, '1')];
  const server = await CfsslServer.start(root, gateway);
  after(() => server[Symbol.asyncDispose]());
  const file = cli.file('root.crt', root.certificate);
  const external = ['--external-ca', `protocol=cfssl,url=${server.url}`];

  function certificateOf(node: number): X509Certificate {
    const directory = join(cli.cloud.root, 'lib', 'c', 'data', `node${node}`, 'cluster', 'certificates');
    return new X509Certificate(readFileSync(join(directory, 'current', 'node.crt')));
  }

  async function trusted(certificate: string): Promise<void> {
    for (const node of ['node1', 'node2', 'node3']) {
      const format = '{{.Description.TLSInfo.TrustRoot}}';
      const trusts = async (): Promise<boolean> =>
        (await cli.ok('node', 'inspect', node, '-f', format)) === certificate.trim();
      await eventually(trusts, `${node} trusts the new root alone`);
    }
  }

  test('the CA is handed over to it, and the root’s key is never in the cluster', async () => {
    await cli.fails(/at least|requires the `--ca-cert` flag/, 'swarm', 'ca', '--rotate', ...external);
    server.wrong = { body: JSON.stringify({ success: false, errors: [{ message: 'not now' }] }) };
    await cli.fails(
      /no external CA signed: .*not now/,
      'swarm',
      'ca',
      '--rotate',
      '--ca-cert',
      file,
      ...external,
    );
    server.wrong = {};
    await cli.ok('swarm', 'ca', '--rotate', '--quiet', '--ca-cert', file, ...external);
    await trusted(root.certificate);
    for (const node of [1, 2, 3])
      assert.ok(certificateOf(node).checkIssued(new X509Certificate(root.certificate)));
    assert.equal(await cli.ok('swarm', 'ca'), root.certificate.trim());
    assert.ok(server.clients.some((subject) => subject?.includes('OU=swarm-manager')));
  });

  test('nodes join by it, and cannot while it refuses', async () => {
    const manager = `${cli.cloud.node(1).address}:2377`;
    const token = await cli.ok('swarm', 'join-token', '-q', 'worker');
    const before = await cli.okOn(3, 'info', '-f', '{{.Swarm.NodeID}}');
    await cli.okOn(3, 'swarm', 'leave');
    // whom a replacement would wait for
    await cli.ok('node', 'rm', '--force', before);
    server.wrong = { body: JSON.stringify({ success: false, errors: [{ message: 'not now' }] }) };
    const { status, stderr } = await cli.cloud.dockerResult(3, ['swarm', 'join', '--token', token, manager]);
    assert.notEqual(status, 0);
    assert.match(stderr, /not now/);
    server.wrong = {};
    await cli.okOn(3, 'swarm', 'join', '--token', token, manager);
    assert.ok(certificateOf(3).checkIssued(new X509Certificate(root.certificate)));
  });

  test('a CA of the cluster’s own takes over again, signed by it for the time between', async () => {
    const another = await createRoot('f'.repeat(25), Date.now());
    writeFileSync(join(cli.cloud.root, 'another.crt'), another.certificate);
    const to = ['--ca-cert', join(cli.cloud.root, 'another.crt'), ...external];
    await cli.fails(/no external CA signed|root did not sign/, 'swarm', 'ca', '--rotate', ...to);
    await cli.ok('swarm', 'ca', '--rotate', '--quiet');
    const own = await cli.ok('swarm', 'ca');
    assert.notEqual(own, root.certificate.trim());
    await trusted(own);
    assert.ok(server.asked.some(({ profile }) => profile === 'CA'));
  });

  test('a swarm is begun with it, and its root’s key is never there', async () => {
    const begun = await createRoot('g'.repeat(25), Date.now());
    await using signer = await CfsslServer.start(begun, gateway);
    const address = `${cli.cloud.node(2).address}:2377`;
    const named = `protocol=cfssl,url=${signer.url}`;
    const init = async (external: string): Promise<string> => {
      const flags = ['--advertise-addr', address, '--external-ca', external];
      return (await cli.cloud.dockerResult(2, ['swarm', 'init', ...flags])).stderr;
    };
    await cli.okOn(2, 'swarm', 'leave');
    assert.match(await init(named), /the certificate of its one root/);
    const whole = `${named},cacert=${cli.file('begun.crt', begun.certificate)}`;
    signer.wrong = { body: JSON.stringify({ success: false, errors: [{ message: 'not now' }] }) };
    assert.match(await init(whole), /no external CA signed: .*not now/);
    assert.equal(await cli.okOn(2, 'info', '-f', '{{.Swarm.LocalNodeState}}'), 'inactive');
    signer.wrong = {};
    assert.equal(await init(whole), '');
    assert.equal(await cli.okOn(2, 'swarm', 'ca'), begun.certificate.trim());
    const token = await cli.okOn(2, 'swarm', 'join-token', '-q', 'worker');
    await cli.okOn(3, 'swarm', 'leave');
    await cli.okOn(3, 'swarm', 'join', '--token', token, address);
    for (const node of [2, 3])
      assert.ok(certificateOf(node).checkIssued(new X509Certificate(begun.certificate)));
    await cli.okOn(2, 'swarm', 'ca', '--rotate', '--quiet');
    assert.notEqual(await cli.okOn(2, 'swarm', 'ca'), begun.certificate.trim());
  });
});
