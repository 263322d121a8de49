import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempDisposableSync, readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RegistryClient } from '#registry/registry-client.ts';
import { type RegistryEndpoint, registryEndpoints } from '#registry/registry-endpoints.ts';

test('a registry’s CA and the certificate to show it are taken from its directory', async () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'drover-certificates-'));
  const [certificate, key] = [join(directory.path, 'own.pem'), join(directory.path, 'own-key.pem')];
  const names = ['-subj', '/CN=someone', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...names];
  execFileSync('openssl', [...request, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  const cert = readFileSync(certificate);
  const tls = { cert, key: readFileSync(key), ca: cert, requestCert: true, rejectUnauthorized: true };
  const server = createServer(tls, (_request, response) => response.end('known'));
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const host = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;

  const settings = { mirrors: [], insecure: [], certificateDirectories: [directory.path] };
  const answer = async (): Promise<string> => {
    const [found] = registryEndpoints(host, settings, { pull: true });
    assert.ok(found !== undefined);
    // Loopback is not verified on its own; what is tested is what holds everywhere else.
    const endpoint: RegistryEndpoint = { ...found, insecure: false };
    using client = new RegistryClient({
      endpoint,
      credentials: {},
      scope: '',
      signal: AbortSignal.timeout(5000),
    });
    const response = await client.send({ method: 'GET', path: '/v2/', what: 'the base', once: true });
    return (await response.setEncoding('utf8').toArray()).join('');
  };
  try {
    await assert.rejects(answer(), { hint: /certs\.d\/127\.0\.0\.1:\d+\/ca\.crt/ });
    const own = join(directory.path, host);
    mkdirSync(own);
    copyFileSync(certificate, join(own, 'ca.crt'));
    await assert.rejects(answer(), /certificate required|alert|ECONNRESET|socket hang up/i);
    copyFileSync(certificate, join(own, 'client.cert'));
    copyFileSync(key, join(own, 'client.key'));
    assert.equal(await answer(), 'known');
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
