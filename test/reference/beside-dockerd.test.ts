import { test } from 'node:test';
import { ApiDaemon } from '../support/api-daemon.ts';
import { eventually, referenceSocket } from '../support/docker-host.ts';
import { ask, bothWork, clear } from '../support/side-by-side.ts';

test('beside dockerd both work, and neither disturbs the other', async () => {
  const dockerd = { socket: referenceSocket() ?? '' };
  await using drover = await ApiDaemon.start();
  await bothWork(drover, dockerd);
  clear(drover);
  await eventually(() => ask(18320) === 'web-18320', 'dockerd’s container goes on answering');
  clear(dockerd);
});
