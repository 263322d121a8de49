import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiDaemon } from '../support/api-daemon.ts';
import { eventually } from '../support/docker-host.ts';
import { ask, bothWork, clear, docker } from '../support/side-by-side.ts';

test('two daemons with roots, sockets and bridges of their own do not know of each other', async () => {
  await using one = await ApiDaemon.start({ bridge: 'dvside1', bip: '10.215.1.1/24' });
  await using two = await ApiDaemon.start({ bridge: 'dvside2', bip: '10.215.2.1/24' });
  await bothWork(one, two);
  // One dies and comes back; the other one's rules, links and containers are as they were.
  await one.kill();
  assert.equal(ask(18320), 'web-18320');
  await using again = await one.startAgain();
  await eventually(() => ask(18310) === 'web-18310' && ask(18320) === 'web-18320', 'both ports answer again');
  clear(again);
  await eventually(() => ask(18320) === 'web-18320', 'the other goes on');
  docker(two, 'run', '--rm', '--network', 'front', 'bb', 'ping', '-c', '1', '-W', '2', 'db');
  clear(two);
});
