import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#control/manual-clock.ts';
import type { NodeDescription } from '#model/node.ts';
import { DescriptionNews } from './description-news.ts';

const nodeWith = (...images: string[]): NodeDescription => ({
  Hostname: 'a',
  Platform: { Architecture: 'x86_64', OS: 'linux' },
  Resources: { NanoCPUs: 1, MemoryBytes: 1 },
  Engine: { EngineVersion: '1', Labels: {}, Plugins: [] },
  images,
});

function newsOf() {
  const clock = new ManualClock();
  const state = { now: nodeWith(), changed: (): void => undefined };
  const source = {
    describe: async () => state.now,
    watch: (onChange: () => void) => {
      state.changed = onChange;
    },
  };
  const ending = new AbortController();
  const news = new DescriptionNews(source, clock);
  news.watch(ending.signal);
  return { clock, state, ending, news };
}

test('a change is told once, and what changed nothing not at all', async () => {
  const { clock, state, ending, news } = newsOf();
  await news.current();
  const next = news.next(ending.signal);
  state.changed();
  await clock.advance(1000);
  await clock.advance(1000);
  state.now = nodeWith('web:1');
  state.changed();
  await clock.advance(1000);
  assert.deepEqual((await next)?.images, ['web:1']);
});

test('changes at once are one', async () => {
  const { clock, state, ending, news } = newsOf();
  await news.current();
  const next = news.next(ending.signal);
  for (const name of ['a', 'b', 'c']) {
    state.now = nodeWith(name);
    state.changed();
  }
  await clock.advance(1000);
  assert.deepEqual((await next)?.images, ['c']);
});

test('the end of a session is no news', async () => {
  const { clock, ending, news } = newsOf();
  await news.current();
  const next = news.next(ending.signal);
  await clock.advance(1000);
  ending.abort();
  assert.equal(await next, undefined);
});
