import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import type { StackRequest } from '#model/stack.ts';
import { planUp } from './plan.ts';
import type { Project } from './project.ts';
import { readProject } from './project-reader.ts';
import { checkStackName, stackRequest } from './stack-request.ts';

function project(text: string, name = 'shop'): Project {
  return readProject({
    files: [{ name: 'compose.yaml', text }],
    directory: '/srv/shop',
    name,
    environment: () => undefined,
    profiles: [],
    resolvePath: (path) => resolve('/srv/shop', path),
    readFile: () => undefined,
    warn: () => undefined,
  });
}

function stack(text: string, warnings: string[] = []): StackRequest {
  const readContent = (path: string): Buffer | undefined =>
    path.endsWith('gone') ? undefined : Buffer.from(path);
  return stackRequest(project(text), { readContent, warn: (message) => warnings.push(message) });
}

test('what a cluster cannot do as the file says is refused by name', () => {
  const refused: [string, string][] = [
    [
      'privileged: true',
      'compose.yaml:1:12: services.web: privileged is not there for services of a cluster',
    ],
    ['devices: ["/dev/kvm"]', 'compose.yaml:1:12: services.web: devices is not there'],
    ['pid: host', 'compose.yaml:1:12: services.web: pid is not there'],
    ['network_mode: "service:db"', 'compose.yaml:1:12: services.web: network_mode service:db is not there'],
    ['ports: ["127.0.0.1:80:80"]', "compose.yaml:1:12: services.web: port 80:80: 127.0.0.1 is one machine's"],
    ['security_opt: ["seccomp=x.json"]', 'compose.yaml:1:12: services.web: security_opt: seccomp=x.json'],
    ['tmpfs: ["/x:noexec"]', 'compose.yaml:1:12: services.web: tmpfs: option noexec is not there'],
    ['deploy: { mode: global, replicas: 2 }', 'compose.yaml:1:12: services.web: replicas are for'],
  ];
  for (const [keys, message] of refused) {
    assert.throws(
      () => stack(`services: {web: {image: a, ${keys}}}`),
      (error: Error) => error.message.startsWith(message) || assert.fail(error.message),
    );
  }
  const waits = 'db: {image: a, depends_on: {web: {condition: service_completed_successfully}}}';
  assert.throws(() => stack(`services: {web: {image: a, restart: always}, ${waits}}`), /others wait for it/);
  assert.throws(
    () => stack('services: {web: {image: a, secrets: [k]}}\nsecrets: {k: {file: gone}}'),
    /compose.yaml:2:11: secrets.k: \/srv\/shop\/gone: no such file/,
  );
});

test('a stack is not called otherwise than was asked', () => {
  for (const name of ['Shop', '_shop', 'a b', '']) {
    assert.throws(() => checkStackName(name), { message: /^invalid stack name/ });
  }
  checkStackName('shop-2');
});

test('what is about one machine is passed over, each by name', () => {
  const warnings: string[] = [];
  stack(
    'services: {web: {image: a, build: src, container_name: w, cpu_shares: 5, pull_policy: always, volumes: ["./conf:/conf", "/etc/ssl:/ssl"]}}\nnetworks: {default: {driver: bridge}}',
    warnings,
  );
  assert.deepEqual(
    warnings.map((line) => line.split(':').slice(0, 2).join(':').slice(0, 48)),
    [
      'services.web: container_name is passed over',
      'services.web: cpu_shares is passed over',
      'services.web: pull_policy is passed over',
      'services.web: build is not done here',
      'services.web: /srv/shop/conf has to be on every ',
      "networks.default: a bridge is one machine's",
    ],
  );
});

test('the same file runs on one machine: secrets are mounted files, an overlay network is a bridge', () => {
  const both = project(
    'services: {web: {image: a, secrets: [k], configs: [{source: c, target: /etc/c}], networks: [n], deploy: {mode: global, placement: {constraints: [x == y]}, restart_policy: {condition: on-failure, max_attempts: 2}}}}\nsecrets: {k: {file: ./k.txt}}\nconfigs: {c: {file: ./c.txt}}\nnetworks: {n: {driver: overlay}}',
  );
  const web = both.services.get('web');
  assert.deepEqual(web?.hostConfig.RestartPolicy, { Name: 'on-failure', MaximumRetryCount: 2 });
  const actual = { containers: [], networks: new Set(['']), volumes: new Set(['']), imageIds: new Map() };
  const options = { forceRecreate: false, noRecreate: false, scale: new Map(), only: [] };
  assert.equal(planUp(both, actual, options).services.length, 1);
  const inline = project('services: {web: {image: a, secrets: [k]}}\nsecrets: {k: {content: x}}');
  assert.throws(
    () => planUp(inline, actual, options),
    /compose.yaml:2:11: secrets.k: on one machine a secret/,
  );
});

test('every port of a range leads to the service', () => {
  const { services } = stack('services: { web: { image: web, ports: ["8000-8002:80"] } }');
  const ports = services[0]?.spec.EndpointSpec?.Ports ?? [];
  assert.deepEqual(
    ports.map(({ PublishedPort, TargetPort }) => [PublishedPort, TargetPort]),
    [8000, 8001, 8002].map((port) => [port, 80]),
  );
});
