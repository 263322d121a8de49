import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerConfig } from '#model/container.ts';
import { commandLine, completeConfig, expandPorts } from './container-config.ts';

function complete(asked: Partial<ContainerConfig>, image: Partial<ContainerConfig> = {}): ContainerConfig {
  return completeConfig({ asked: { Cmd: ['true'], ...asked }, image, hostname: '0123456789ab' });
}

test('what was asked goes before what the image says', () => {
  const config = complete(
    { Env: ['A=1', 'B='], Labels: { own: '1' }, ExposedPorts: { '81': {} }, User: '' },
    {
      Env: ['A=0', 'PATH=/bin'],
      Labels: { own: '0', image: 'x' },
      ExposedPorts: { '80/tcp': {} },
      User: 'app',
      WorkingDir: '/srv/../app/',
      StopSignal: 'SIGQUIT',
      Volumes: { '/data': {} },
    },
  );
  assert.deepEqual(config.Env, ['A=1', 'B=', 'PATH=/bin']);
  assert.deepEqual(config.Labels, { own: '1', image: 'x' });
  assert.deepEqual(Object.keys(config.ExposedPorts ?? {}), ['80/tcp', '81/tcp']);
  assert.equal(config.User, 'app');
  assert.equal(config.WorkingDir, '/app');
  assert.equal(config.StopSignal, 'SIGQUIT');
  assert.deepEqual(config.Volumes, { '/data': {} });
  assert.equal(config.Hostname, '0123456789ab');
});

test('an own entrypoint keeps the image’s command away, an own command does not keep its entrypoint away', () => {
  const image = { Entrypoint: ['/entry'], Cmd: ['serve'] };
  const line = (asked: Partial<ContainerConfig>): string[] => {
    const { path, args } = commandLine(completeConfig({ asked, image, hostname: 'h' }));
    return [path, ...args];
  };
  assert.deepEqual(line({}), ['/entry', 'serve']);
  assert.deepEqual(line({ Cmd: ['sh'] }), ['/entry', 'sh']);
  assert.deepEqual(line({ Entrypoint: ['/own'] }), ['/own']);
  assert.deepEqual(line({ Entrypoint: [''], Cmd: ['sh'] }), ['sh']);
  assert.throws(() => line({ Entrypoint: [''] }), /no command specified/);
});

test('a health check is completed field by field', () => {
  const image = { Healthcheck: { Test: ['CMD', 'true'], Interval: 5e9, Retries: 2 } };
  const config = complete({ Healthcheck: { Test: [], Interval: 1e9 } }, image);
  assert.deepEqual(config.Healthcheck, { Test: ['CMD', 'true'], Interval: 1e9, Retries: 2 });
});

test('what makes no sense is refused by the name of its field', () => {
  const refused: [Partial<ContainerConfig>, RegExp][] = [
    [{ Cmd: [] }, /^no command specified$/],
    [{ WorkingDir: 'app' }, /^the working directory 'app' is invalid, it needs to be an absolute path$/],
    [{ Env: ['=x'] }, /^invalid environment variable: =x$/],
    [{ StopSignal: 'NOPE' }, /^invalid signal: NOPE$/],
    [{ Healthcheck: { Test: ['CMD'], Interval: 5 } }, /^Interval in Healthcheck cannot be less than 1ms$/],
    [{ Healthcheck: { Test: ['RUN'] } }, /^Unknown healthcheck type 'RUN'/],
    [{ ExposedPorts: { 'x/tcp': {} } }, /^invalid port specification: "x\/tcp"$/],
  ];
  for (const [asked, message] of refused) assert.throws(() => complete(asked), { kind: 'invalid', message });
});

test('a range of ports stands for its ports', () => {
  assert.deepEqual(expandPorts('80'), ['80/tcp']);
  assert.deepEqual(expandPorts('53-54/udp'), ['53/udp', '54/udp']);
  for (const key of ['0', '70000', '9-8', '80/x', '']) assert.throws(() => expandPorts(key), /invalid port/);
});
