import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { caDigestOf, createJoinToken, parseJoinToken, rebindJoinToken, roleOfToken } from './join-token.ts';
import { createRoot } from './root-certificate.ts';

const CLUSTER = 'c'.repeat(25);
const root = await createRoot(CLUSTER, Date.UTC(2030, 0, 1));

test('a token has Swarm’s form and names the CA', () => {
  const token = createJoinToken(root.certificate);
  assert.match(token, /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
  assert.equal(parseJoinToken(token).caDigest, caDigestOf(new X509Certificate(root.certificate)));
  assert.notEqual(createJoinToken(root.certificate), token);
});

test('a token follows the CA and keeps its secret', async () => {
  const next = await createRoot(CLUSTER, Date.UTC(2030, 0, 1));
  const token = createJoinToken(root.certificate);
  const { caDigest, secret } = parseJoinToken(rebindJoinToken(token, next.certificate));
  assert.equal(caDigest, caDigestOf(new X509Certificate(next.certificate)));
  assert.equal(secret, parseJoinToken(token).secret);
});

test('a token says what its holder may join as', () => {
  const tokens = { Worker: createJoinToken(root.certificate), Manager: createJoinToken(root.certificate) };
  assert.equal(roleOfToken(tokens.Worker, tokens), 'worker');
  assert.equal(roleOfToken(tokens.Manager, tokens), 'manager');
  for (const wrong of [
    '',
    tokens.Worker.slice(0, -1),
    `${tokens.Worker} `,
    createJoinToken(root.certificate),
  ])
    assert.equal(roleOfToken(wrong, tokens), undefined);
});

test('what is no token is refused without being repeated', () => {
  const token = createJoinToken(root.certificate);
  for (const wrong of ['', 'SWMTKN-1-', token.toUpperCase(), `${token}\n`, token.replace('-1-', '-2-')])
    assert.throws(
      () => parseJoinToken(wrong),
      /^Error: invalid join token$|^DroverError: invalid join token$/,
    );
});
