import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withUpgrade } from './bare-connection.ts';

function rewritten(text: string): string | undefined {
  return withUpgrade(Buffer.from(text))?.toString();
}

test('attach without an upgrade gets one, what follows the head stays', () => {
  assert.equal(
    rewritten(
      'POST /v1.24/containers/a/attach?stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nearly',
    ),
    'POST /v1.24/containers/a/attach?stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: drover-bare\r\n\r\nearly',
  );
});

test('everything else passes as it is', () => {
  for (const text of [
    'GET /_ping HTTP/1.1\r\n\r\n',
    'POST /containers/a/start HTTP/1.1\r\n\r\n',
    'POST /containers/a/attach/ws HTTP/1.1\r\n\r\n',
    'POST /exec/a/start HTTP/1.1\r\nUpgrade: tcp\r\n\r\n',
    'POST /exec/a/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'PO\0',
  ]) {
    assert.equal(rewritten(text), text);
  }
});

test('a head that is not whole yet is waited for', () => {
  assert.equal(rewritten('PO'), undefined);
  assert.equal(rewritten('POST /exec/a/start HTTP/1.1\r\nHost: x\r\n'), undefined);
});
