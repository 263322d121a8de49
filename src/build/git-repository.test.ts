import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { resolveGit } from './git-repository.ts';

test('a repository that asks for a password is not given those of the machine', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-git-'));
  const asked = join(directory, 'asked');
  const { GIT_CONFIG_GLOBAL } = process.env;
  const server = createServer((_, response) => {
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="r"' }).end();
  });
  try {
    writeFileSync(join(directory, 'config'), `[credential]\n\thelper = "!touch ${asked};"\n`);
    process.env['GIT_CONFIG_GLOBAL'] = join(directory, 'config');
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { signal } = new AbortController();
    await assert.rejects(resolveGit(`http://127.0.0.1:${port}/a.git`, signal), /ls-remote/);
    assert.ok(!existsSync(asked));
  } finally {
    if (GIT_CONFIG_GLOBAL === undefined) delete process.env['GIT_CONFIG_GLOBAL'];
    else process.env['GIT_CONFIG_GLOBAL'] = GIT_CONFIG_GLOBAL;
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
