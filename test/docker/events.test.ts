import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();

const now = (): string => (Date.now() / 1000).toFixed(3);

/** What happened between two moments, as `docker events` prints it; filters choose. */
function happened(since: string, format: string, ...filters: string[]): string[] {
  const chosen = filters.flatMap((filter) => ['--filter', filter]);
  // The second of `until` has to be over for events in it to count.
  const text = host.ok('events', '--since', since, '--until', now(), ...chosen, '--format', format);
  return text.split('\n').filter(Boolean);
}

test('a container’s life in events, in order', () => {
  const since = now();
  const id = host.runDetached(['--name', 'life', '--label', 'tier=web'], 'sleep', '1000');
  host.ok('pause', 'life');
  host.ok('unpause', 'life');
  host.ok('rename', 'life', 'after');
  host.ok('exec', 'after', 'true');
  host.ok('kill', '-s', 'TERM', 'after');
  host.ok('stop', '-t', '0', 'after');
  host.ok('rm', 'after');
  const seen = happened(since, '{{.Action}}', 'type=container', `container=${id}`);
  assert.deepEqual(
    seen.filter((action) => !/^(exec_|top)/.test(action)),
    ['create', 'start', 'pause', 'unpause', 'rename', 'kill', 'kill', 'kill', 'die', 'stop', 'destroy'],
  );
  assert.deepEqual(
    seen.filter((action) => action.startsWith('exec_')).map((action) => action.split(':')[0]),
    ['exec_create', 'exec_start', 'exec_die'],
  );
});

test('events carry the name, the image, the labels and the exit code', () => {
  const since = now();
  host.docker('run', '--name', 'told', '--label', 'tier=web', 'bb', 'sh', '-c', 'exit 3');
  assert.deepEqual(
    happened(
      since,
      '{{.Actor.Attributes.name}} {{.Actor.Attributes.image}} {{.Actor.Attributes.tier}} {{.Actor.Attributes.exitCode}}',
      'event=die',
    ),
    ['told bb web 3'],
  );
});

test('filters choose by type, event, container, label and image', () => {
  const since = now();
  host.runDetached(['--name', 'one', '--label', 'a=1'], 'sleep', '1000');
  host.runDetached(['--name', 'two', '--label', 'a=2'], 'sleep', '1000');
  const names = (...filters: string[]): string[] =>
    happened(since, '{{.Actor.Attributes.name}}', 'event=start', ...filters);
  assert.deepEqual(names(), ['one', 'two']);
  assert.deepEqual(names('container=two'), ['two']);
  assert.deepEqual(names('label=a=1'), ['one']);
  assert.deepEqual(names('label=a'), ['one', 'two']);
  assert.deepEqual(names('image=bb'), ['one', 'two']);
  assert.deepEqual(names('type=volume'), []);
  assert.deepEqual(happened(since, '{{.Type}}', 'type=network', 'event=connect'), ['network', 'network']);
});

test('volumes, networks and images have events', () => {
  const since = now();
  host.ok('volume', 'create', 'kept');
  host.ok('network', 'create', 'front');
  host.ok('tag', 'bb', 'bb:other');
  host.ok('rmi', 'bb:other');
  host.ok('run', '--rm', '-v', 'kept:/kept', '--network', 'front', 'bb', 'true');
  host.ok('network', 'rm', 'front');
  host.ok('volume', 'rm', 'kept');
  // dockerd tells of a volume's creation twice
  const of = (type: string): string[] =>
    happened(since, '{{.Action}}', `type=${type}`).filter((action, at, all) => action !== all[at - 1]);
  assert.deepEqual(of('volume'), ['create', 'mount', 'unmount', 'destroy']);
  assert.deepEqual(of('network'), ['create', 'connect', 'disconnect', 'destroy']);
  assert.deepEqual(of('image'), ['tag', 'untag']);
});

test('events go on as they happen, until the client leaves', async () => {
  const watching = host.start('events', '--filter', 'event=start', '--format', '{{json .}}');
  // Nothing says that it listens: it does when it has seen something.
  await eventually(() => {
    host.runDetached([], 'true');
    return watching.stdout !== '';
  }, 'an event');
  await watching.interrupt();
  const [line = ''] = watching.stdout.split('\n');
  const event: unknown = JSON.parse(line);
  assert.ok(typeof event === 'object' && event !== null);
  for (const field of ['Type', 'Action', 'Actor', 'scope', 'time', 'timeNano', 'status', 'id', 'from'])
    assert.ok(field in event, field);
});
