import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Project } from './project.ts';
import { readProject } from './project-reader.ts';

function read(...texts: string[]): Project {
  return readProject({
    files: texts.map((text, index) => ({ name: index === 0 ? 'compose.yaml' : `over-${index}.yaml`, text })),
    directory: '/srv/shop',
    name: undefined,
    environment: (name) => (name === 'TAG' ? '1.0' : undefined),
    profiles: [],
    resolvePath: (path) => `/srv/shop/${path.replace(/^\.\//, '')}`,
    readFile: (path) => (path === '/srv/shop/web.env' ? 'FROM_FILE=yes\nBOTH=file' : undefined),
    warn: () => undefined,
  });
}

test('short forms are written out', () => {
  const web = read(`
services:
  web:
    image: web:$TAG
    command: sh -c "echo hi"
    ports: ["8080:80", "127.0.0.1:5000-5001:5000-5001/udp"]
    volumes: ["data:/data:ro", "./conf:/etc/conf", "/anonymous"]
    environment: { BOTH: file2, NUMBER: 1 }
    env_file: web.env
    mem_limit: 64m
    stop_grace_period: 1m30s
volumes:
  data:
`).services.get('web');
  assert.equal(web?.image, 'web:1.0');
  assert.deepEqual(web?.config['Cmd'], ['sh', '-c', 'echo hi']);
  assert.deepEqual(web?.config['Env'], ['FROM_FILE=yes', 'BOTH=file2', 'NUMBER=1']);
  assert.equal(web?.config['StopTimeout'], 90);
  assert.equal(web?.hostConfig['Memory'], 64 * 1024 * 1024);
  assert.deepEqual(web?.ports, [
    { target: '80/tcp', bindings: [{ HostIp: '', HostPort: '8080' }] },
    { target: '5000/udp', bindings: [{ HostIp: '127.0.0.1', HostPort: '5000' }] },
    { target: '5001/udp', bindings: [{ HostIp: '127.0.0.1', HostPort: '5001' }] },
  ]);
  assert.deepEqual(
    web?.mounts.map(({ Type, Source, Target, ReadOnly }) => [Type, Source, Target, ReadOnly]),
    [
      ['volume', 'shop_data', '/data', true],
      ['bind', '/srv/shop/conf', '/etc/conf', false],
      ['volume', '', '/anonymous', false],
    ],
  );
});

test('every key that is not taken is named with its place', () => {
  const refused: [string, string][] = [
    [
      'services:\n  web:\n    image: x\n    imgae: y\n',
      'compose.yaml:4:5: services.web: imgae is unknown; did you mean image?',
    ],
    [
      'services:\n  web:\n    build: .\n',
      'compose.yaml:2:3: services.web: image is missing: give what build makes a name',
    ],
    [
      'services:\n  web:\n    image: x\n    secrets: [key]\n',
      'compose.yaml:4:15: secret key is not declared under secrets',
    ],
    [
      'services:\n  web:\n    image: x\n    deploy: { mode: everywhere }\n',
      'compose.yaml:4:15: must be one of replicated, global,',
    ],
    ['services:\n  web:\n    image: [x]\n', 'compose.yaml:3:5: must be a string'],
    [
      'services:\n  web:\n    image: x\n    volumes: ["nope:/x"]\n',
      'compose.yaml:4:15: volume nope is not declared',
    ],
    [
      'services: {web: {image: x, depends_on: [gone]}}\n',
      'service "web" depends on undefined service "gone"',
    ],
    [
      'services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n',
      'dependency cycle detected: a -> b -> a',
    ],
    ['services:\n  web: [\n', 'compose.yaml:'],
  ];
  for (const [text, message] of refused) {
    assert.throws(
      () => read(text),
      (error: Error) => error.message.startsWith(message) || assert.fail(`${error.message} for ${text}`),
    );
  }
});

test('mounts take the options of their type, and no others', () => {
  const mountsOf = (...mounts: string[]): unknown => {
    const lines = mounts.map((mount) => `      - ${mount}\n`).join('');
    const { services } = read(`services:\n  web:\n    image: x\n    volumes:\n${lines}volumes: {v: {}}\n`);
    return services.get('web')?.mounts;
  };
  assert.deepEqual(
    mountsOf(
      '{type: volume, source: v, target: /a, volume: {subpath: part, nocopy: true, labels: [of=me]}}',
      '{type: bind, source: ./b, target: /b, read_only: true, bind: {recursive: writable, selinux: z}}',
      '{type: tmpfs, target: /c, tmpfs: {size: 1m}}',
    ),
    [
      {
        ...{ Type: 'volume', Source: 'shop_v', Target: '/a', ReadOnly: false },
        VolumeOptions: { NoCopy: true, Subpath: 'part', Labels: { of: 'me' } },
      },
      {
        ...{ Type: 'bind', Source: '/srv/shop/b', Target: '/b', ReadOnly: true },
        BindOptions: { ReadOnlyNonRecursive: true },
      },
      { Type: 'tmpfs', Source: '', Target: '/c', ReadOnly: false, TmpfsOptions: { SizeBytes: 1048576 } },
    ],
  );
  const refused: [string, string][] = [
    ['{type: volume, source: v, target: /a, volume: {subpaht: x}}', 'unknown; did you mean subpath?'],
    ['{type: bind, source: /b, target: /b, bind: {recursive: no}}', 'must be one of enabled'],
    ['{type: bind, source: /b, target: /b, volume: {nocopy: true}}', 'not for a mount of type bind'],
  ];
  for (const [mount, message] of refused)
    assert.throws(
      () => mountsOf(mount),
      (error: Error) => error.message.includes(message) || assert.fail(error),
    );
});

test('later files win, extend lists, and can reset', () => {
  const project = read(
    'services: {web: {image: a, command: [x], ports: ["80:80"], environment: {A: 1, B: 2}, labels: {l: "1"}}}',
    'services: {web: {image: b, command: [y], ports: ["81:81"], environment: {B: 3}, labels: !reset null}}',
  );
  const web = project.services.get('web');
  assert.equal(web?.image, 'b');
  assert.deepEqual(web?.config['Cmd'], ['y']);
  assert.deepEqual(
    web?.ports.map(({ target }) => target),
    ['80/tcp', '81/tcp'],
  );
  assert.deepEqual(web?.config['Env'], ['A=1', 'B=3']);
  assert.deepEqual(web?.config['Labels'], {});
});

test('services with profiles wait to be asked for; names follow the directory', () => {
  const project = read('services: {web: {image: a}, debug: {image: a, profiles: [dev]}}');
  assert.deepEqual([...project.services.keys()], ['web']);
  assert.equal(project.name, 'shop');
  assert.equal(project.networks.get('default')?.name, 'shop_default');
});

test('anchors and merge keys', () => {
  const project = read('x-base: &base {image: a, restart: always}\nservices: {web: {<<: *base, image: b}}');
  const web = project.services.get('web');
  assert.equal(web?.image, 'b');
  assert.deepEqual(web?.hostConfig['RestartPolicy'], { Name: 'always', MaximumRetryCount: 0 });
});
