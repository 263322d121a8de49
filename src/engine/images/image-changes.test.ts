import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyChanges } from './image-changes.ts';
import { mergeEnv } from './image-settings.ts';

test('instructions change the configuration, as in a Dockerfile', () => {
  assert.deepEqual(
    applyChanges({ Env: ['A=old'], Labels: { kept: 'yes' } }, [
      'CMD echo hi',
      'ENTRYPOINT ["sh", "-c"]',
      'ENV A=1 B="x y"',
      'ENV C the rest',
      'EXPOSE 80 53/udp',
      'label l=v',
      'USER web',
      'VOLUME ["/a", "/b"]',
      'WORKDIR /srv',
      'STOPSIGNAL SIGQUIT',
      'HEALTHCHECK --interval=1m30s --retries=3 CMD ["true"]',
    ]),
    {
      Cmd: ['/bin/sh', '-c', 'echo hi'],
      Entrypoint: ['sh', '-c'],
      Env: ['A=1', 'B=x y', 'C=the rest'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Labels: { kept: 'yes', l: 'v' },
      User: 'web',
      Volumes: { '/a': {}, '/b': {} },
      WorkingDir: '/srv',
      StopSignal: 'SIGQUIT',
      Healthcheck: { Test: ['CMD', 'true'], Interval: 90e9, Retries: 3 },
    },
  );
  assert.deepEqual(applyChanges({}, ['HEALTHCHECK NONE']), { Healthcheck: { Test: ['NONE'] } });
});

test('what is not allowed or not well formed is named', () => {
  for (const [change, message] of [
    ['RUN true', /RUN is not a valid change command/],
    ['ENV', /ENV/],
    ['ENV =x', /can't find =/],
    ['EXPOSE many', /Invalid containerPort: many/],
    ['HEALTHCHECK true', /HEALTHCHECK/],
    ['HEALTHCHECK --often=1s CMD true', /Unknown flag: often/],
    ['HEALTHCHECK --interval=soon CMD true', /invalid duration "soon"/],
  ] as const)
    assert.throws(() => applyChanges({}, [change]), message, change);
});

test('variables are replaced in their places', () => {
  assert.deepEqual(mergeEnv(['A=1', 'B=2'], ['C=3', 'A=4']), ['A=4', 'B=2', 'C=3']);
});
