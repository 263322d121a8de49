import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindOf } from '#model/errors.ts';
import type { ServiceSpec } from '#model/service.ts';
import type { ContainerSpec } from '#model/task-spec.ts';
import { controlOver, oneNodeSwarm } from './control-fixture.ts';

const WEB: ServiceSpec = { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'nginx:1' } } };

function withImage(spec: ServiceSpec, image: string): ServiceSpec {
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ContainerSpec: { Image: image } } };
}

function withContainer(o: Partial<ContainerSpec>): ServiceSpec {
  return { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'nginx', ...o } } };
}

test('a service is made with its first revision, and can be read when create has resolved', async () => {
  const store = await oneNodeSwarm();
  const control = controlOver(store);
  const { id } = await control.services.create({ spec: WEB });
  const { record } = control.services.inspect('web');
  assert.equal(record.ID, id);
  assert.deepEqual(record.Spec.Mode, { Replicated: { Replicas: 1 } });
  assert.equal(record.revision, 1);
  assert.deepEqual(store.view.get('revision', `${id}.1`)?.template, WEB.TaskTemplate);
  await assert.rejects(control.services.create({ spec: WEB }), {
    kind: 'conflict',
    message: 'name conflicts with an existing object: service web already exists',
  });
});

test('a template that changes is a new revision, labels and replicas are none; a rollback takes the older one', async () => {
  const store = await oneNodeSwarm();
  const { services } = controlOver(store);
  const { id } = await services.create({ spec: WEB });
  const update = async (spec: ServiceSpec, rollback = false): Promise<void> => {
    await services.update('web', { spec, rollback, version: services.inspect('web').revision });
  };
  const numbers = (): (number | undefined)[] => {
    const { revision, previousRevision } = services.inspect('web').record;
    return [revision, previousRevision];
  };
  await update({ ...WEB, Labels: { a: 'b' }, Mode: { Replicated: { Replicas: 3 } } });
  assert.deepEqual(numbers(), [1, 1]);
  await update(withImage(WEB, 'nginx:2'));
  assert.deepEqual(numbers(), [2, 1]);
  await update(WEB, true);
  assert.deepEqual(numbers(), [1, 2]);
  const { record } = services.inspect('web');
  assert.equal(record.UpdateStatus?.State, 'rollback_started');
  assert.deepEqual(record.Spec.Mode, { Replicated: { Replicas: 3 } });
  // a number that a task may still name is not given to another template
  await update({ ...WEB, Labels: { c: 'd' } });
  await update(withImage(WEB, 'nginx:3'));
  assert.deepEqual(numbers(), [3, 1]);
  assert.equal(services.inspect('web').record.UpdateStatus, undefined);
  await update({ ...withImage(WEB, 'nginx:3'), EndpointSpec: { Mode: 'dnsrr' } });
  assert.deepEqual(numbers(), [4, 3]);
  assert.deepEqual(store.view.get('revision', `${id}.4`)?.endpoint, { Mode: 'dnsrr' });
  const forced = withImage(WEB, 'nginx:3');
  await update({ ...forced, TaskTemplate: { ...forced.TaskTemplate, ForceUpdate: 1 } });
  assert.deepEqual(numbers(), [5, 4]);
});

test('what a client sends back as it read it, with defaults filled in, is no other template', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  const labels = (Labels: Record<string, string>): ServiceSpec => withContainer({ Labels });
  await services.create({ spec: withContainer({}) });
  const numberAfter = async (spec: ServiceSpec): Promise<number> => {
    await services.update('web', { spec, version: services.inspect('web').revision });
    return services.inspect('web').record.revision;
  };
  const filled: ServiceSpec = {
    Name: 'web',
    EndpointSpec: { Mode: 'vip' },
    TaskTemplate: {
      ContainerSpec: { Image: 'nginx', DNSConfig: {}, Isolation: 'default', Mounts: [], Hostname: '' },
      ForceUpdate: 0,
      Runtime: 'container',
      Placement: {},
      Resources: { Limits: {}, Reservations: {} },
    },
  };
  assert.equal(await numberAfter(filled), 1);
  // of labels everything counts, also what is empty and what a default of Docker's is called
  assert.equal(await numberAfter(labels({ a: '' })), 2);
  assert.equal(await numberAfter(labels({ a: '', Mode: 'vip' })), 3);
  assert.equal(await numberAfter(withContainer({ Init: false })), 4);
});

test('an update says which version it is of; name and mode stay; without a previous spec there is no way back', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  const { id } = await services.create({ spec: WEB });
  const version = services.inspect('web').revision;
  const refusals: [Parameters<typeof services.update>[1], string, string][] = [
    [{ spec: WEB, version: version - 1 }, 'invalid', 'update out of sequence'],
    [{ spec: { ...WEB, Name: 'x' }, version }, 'not-implemented', 'renaming services is not supported'],
    [
      { spec: { ...WEB, Mode: { Global: {} } }, version },
      'not-implemented',
      'service mode change is not allowed',
    ],
    [{ spec: WEB, version, rollback: true }, 'invalid', `service ${id} does not have a previous spec`],
  ];
  for (const [request, kind, message] of refusals)
    await assert.rejects(services.update('web', request), { kind, message });
  await assert.rejects(services.update('nope', { spec: WEB, version }), {
    kind: 'not-found',
    message: 'service nope not found',
  });
});

test('an update goes on when something else is changed meanwhile; one that stopped begins anew', async () => {
  const store = await oneNodeSwarm();
  const { services } = controlOver(store);
  await services.create({ spec: WEB });
  const scale = async (State: 'updating' | 'paused', Replicas: number): Promise<string | undefined> => {
    const { record } = services.inspect('web');
    await store.write({ table: 'service', put: { ...record, UpdateStatus: { State, revision: 1 } } });
    const spec = { ...WEB, Mode: { Replicated: { Replicas } } };
    await services.update('web', { spec, version: services.inspect('web').revision });
    return services.inspect('web').record.UpdateStatus?.State;
  };
  assert.equal(await scale('updating', 2), 'updating');
  assert.equal(await scale('paused', 3), undefined);
});

test('a job that changes runs again, from nothing', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  const job: ServiceSpec = { ...WEB, Mode: { ReplicatedJob: {} } };
  await services.create({ spec: job });
  const { record, revision } = services.inspect('web');
  assert.deepEqual(record.Spec.Mode, { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } });
  assert.equal(record.JobStatus?.JobIteration, 0);
  await services.update('web', { spec: withImage(job, 'nginx:2'), version: revision });
  assert.equal(services.inspect('web').record.JobStatus?.JobIteration, 1);
});

test('a job runs again with whatever is changed, as it does under Docker', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  const job: ServiceSpec = { ...WEB, Mode: { ReplicatedJob: { TotalCompletions: 2 } } };
  await services.create({ spec: job });
  const run = (): number | undefined => services.inspect('web').record.JobStatus?.JobIteration;
  const change = async (spec: ServiceSpec, rollback = false): Promise<void> => {
    await services.update('web', { spec, rollback, version: services.inspect('web').revision });
  };
  await change({ ...job, Labels: { a: 'b' } });
  assert.equal(run(), 1);
  await change({ ...job, Mode: { ReplicatedJob: { TotalCompletions: 3 } } });
  assert.equal(run(), 2);
  await change(job, true);
  assert.equal(run(), 3);
});

test('a removed service is gone to clients, its name and ports are free, its record is left to the controllers', async () => {
  const store = await oneNodeSwarm();
  const { services } = controlOver(store);
  const published: ServiceSpec = {
    ...WEB,
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  };
  const { id } = await services.create({ spec: published });
  await services.remove('web');
  assert.throws(() => services.inspect('web'), { message: 'service web not found' });
  assert.throws(() => services.inspect(id), { kind: 'not-found' });
  assert.deepEqual(services.list({}), []);
  assert.equal(store.view.get('service', id)?.removing, true);
  const { id: next } = await services.create({ spec: published });
  await store.write({ table: 'service', delete: id });
  assert.equal(services.inspect('web').record.ID, next);
});

test('a published port is one service’s; in host mode several may have it', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  const published = (Name: string, PublishMode: 'host' | 'ingress', PublishedPort: number): ServiceSpec => ({
    ...WEB,
    Name,
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort, PublishMode }] },
  });
  const { id } = await services.create({ spec: published('a', 'ingress', 80) });
  await assert.rejects(services.create({ spec: published('b', 'host', 80) }), {
    kind: 'invalid',
    message: `port '80' is already in use by service 'a' (${id}) as an ingress port`,
  });
  await services.create({ spec: published('c', 'host', 90) });
  await services.create({ spec: published('d', 'host', 90) });
  await assert.rejects(services.create({ spec: published('e', 'ingress', 90) }), /as a host-published port$/);
  const { revision } = services.inspect('a');
  await services.update('a', { spec: published('a', 'ingress', 80), version: revision });
});

test('two that ask for the same at the same time: one gets it', async () => {
  const store = await oneNodeSwarm();
  const managers = [controlOver(store), controlOver(store)];
  store.hold();
  const attempts = Promise.allSettled(
    managers.map(async ({ services }, index) => {
      const EndpointSpec = { Ports: [{ TargetPort: 80, PublishedPort: 80 }] };
      await services.create({ spec: { ...WEB, Name: `web${index}`, EndpointSpec } });
    }),
  );
  // both have looked, and one has written
  await new Promise((resolve) => setImmediate(resolve));
  store.release();
  assert.deepEqual(
    (await attempts).map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
});

test('a write waits for the view, and one on an old view is decided again', async () => {
  const store = await oneNodeSwarm();
  const one = controlOver(store);
  const other = controlOver(store);
  store.hold();
  let done = false;
  const first = one.services.create({ spec: WEB }).then(() => {
    done = true;
  });
  const second = other.services.create({ spec: WEB });
  second.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(done, false);
  store.release();
  await first;
  await assert.rejects(second, { kind: 'conflict' });
});

test('what a controller writes meanwhile is not written over', async () => {
  const store = await oneNodeSwarm();
  const { services } = controlOver(store);
  const { id } = await services.create({ spec: WEB });
  store.hold();
  const { record } = services.inspect(id);
  await store.write({ table: 'service', put: { ...record, Endpoint: { Spec: { Mode: 'vip' } } } });
  const removed = services.remove(id);
  await new Promise((resolve) => setImmediate(resolve));
  store.release();
  await removed;
  const { removing, Endpoint } = store.view.get('service', id) ?? assert.fail();
  assert.deepEqual([removing, Endpoint], [true, { Spec: { Mode: 'vip' } }]);
});

test('registry credentials are sealed, stay over updates that bring none, and go back with a rollback', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  const { id } = await services.create({ spec: WEB, registryAuth: 'one' });
  const seen = (): (string | undefined)[] => {
    const { sealedRegistryAuth, previousSealedRegistryAuth } = services.inspect('web').record;
    return [sealedRegistryAuth, previousSealedRegistryAuth];
  };
  const sealed = (text: string): string => `registry-auth/${id}:${Buffer.from(text).toString('base64')}`;
  const version = (): number => services.inspect('web').revision;
  assert.deepEqual(seen(), [sealed('one'), undefined]);
  await services.update('web', { spec: withImage(WEB, 'b'), version: version(), registryAuth: 'two' });
  assert.deepEqual(seen(), [sealed('two'), sealed('one')]);
  await services.update('web', { spec: withImage(WEB, 'c'), version: version() });
  assert.deepEqual(seen(), [sealed('two'), sealed('two')]);
  await services.update('web', { spec: withImage(WEB, 'd'), version: version(), registryAuth: 'three' });
  await services.update('web', { spec: WEB, version: version(), rollback: true });
  assert.deepEqual(seen(), [sealed('two'), sealed('three')]);
});

test('a service is refused in Docker’s words', async (context) => {
  const { services, networks } = controlOver(await oneNodeSwarm());
  await networks.create({ Name: 'back' });
  const file = { Name: 'x', UID: '0', GID: '0', Mode: 0o444 };
  const template = { ContainerSpec: { Image: 'nginx' } };
  const cases: [ServiceSpec, RegExp][] = [
    [{ ...WEB, Name: 'a b' }, /^name must be valid as a DNS name component$/],
    [{ ...WEB, Name: 'a'.repeat(64) }, /^name must be 63 characters or fewer$/],
    [withContainer({ Image: '' }), /^ContainerSpec: image reference must be provided$/],
    [withContainer({ Image: 'UPPER' }), /^ContainerSpec: "UPPER" is not a valid repository\/tag$/],
    [{ ...WEB, Mode: { Global: {}, Replicated: {} } }, /^must specify only one service mode$/],
    [{ ...WEB, Mode: { Replicated: { Replicas: -1 } } }, /^Number of replicas must be non-negative$/],
    [{ ...WEB, Mode: { GlobalJob: {} }, UpdateConfig: {} }, /^Jobs may not have an update config$/],
    [{ ...WEB, UpdateConfig: { Delay: -1 } }, /^TaskSpec: update-delay cannot be negative$/],
    [{ ...WEB, UpdateConfig: { MaxFailureRatio: 2 } }, /^TaskSpec: update-maxfailureratio cannot be less/],
    [{ ...WEB, RollbackConfig: { FailureAction: 'rollback' } }, /cannot be rolled back/],
    [{ ...WEB, Labels: { 'drover.ingress': 'near' } }, /^label drover.ingress: "near" is none: use local/],
    [
      withContainer({ Mounts: [mount('/x', '/a'), mount('/x', '/b')] }),
      /^ContainerSpec: duplicate mount point: \/x$/,
    ],
    [withContainer({ Mounts: [mount('x', '/a')] }), /mount path must be absolute$/],
    [withContainer({ Mounts: [{ Type: 'cluster', Target: '/x' }] }), /^mounts of type "cluster" are not/],
    [withContainer({ Healthcheck: { Test: [], Interval: 1 } }), /Interval in HealthConfig cannot be less/],
    [withContainer({ Secrets: [{ SecretID: 'no', SecretName: 'n', File: file }] }), /^secret not found: n$/],
    [
      withContainer({ Configs: [{ ConfigID: 'no', ConfigName: 'n' }] }),
      /^malformed config reference, no target provided$/,
    ],
    [
      withContainer({
        Secrets: ['a', 'b'].map((name) => ({ SecretID: name, SecretName: name, File: file })),
      }),
      /^secret references 'a' and 'b' have a conflicting target: 'x'$/,
    ],
    [
      { ...WEB, TaskTemplate: { ...template, Resources: { Limits: { NanoCPUs: 1 } } } },
      /^invalid cpu value 1e-9: Must be at least 0\.001$/,
    ],
    [
      { ...WEB, TaskTemplate: { ...template, Resources: { Limits: { MemoryBytes: 1 } } } },
      /^invalid memory value 1: Must be at least 4MiB$/,
    ],
    [
      { ...WEB, TaskTemplate: { ...template, Placement: { Constraints: ['foo'] } } },
      /^constraint expected one operator from ==, !=$/,
    ],
    [
      { ...WEB, TaskTemplate: { ...template, RestartPolicy: { Delay: -1 } } },
      /^TaskSpec: restart-delay cannot be negative$/,
    ],
    [
      { ...WEB, EndpointSpec: { Mode: 'dnsrr', Ports: [{ TargetPort: 80 }] } },
      /^EndpointSpec: port published with ingress mode can't be used with dnsrr mode$/,
    ],
    [
      { ...WEB, EndpointSpec: { Ports: [port(80, 80), port(81, 80)] } },
      /^EndpointSpec: duplicate published ports provided$/,
    ],
    [{ ...WEB, EndpointSpec: { Ports: [port(0, 80)] } }, /^EndpointSpec: invalid target port 0/],
    [on('nope'), /^network nope not found$/],
    [on('ingress'), /^Service cannot be explicitly attached to the ingress network "ingress"$/],
    [
      { ...on('host'), EndpointSpec: { Ports: [port(80, 80)] } },
      /^a service on the network host can publish ports in host mode only$/,
    ],
    [
      { ...WEB, TaskTemplate: { ...template, Networks: [{ Target: 'host' }, { Target: 'back' }] } },
      /^a service on the network host can be on no other one$/,
    ],
    [on('mine'), /^network mine cannot be used with services\. Only networks scoped to the swarm/],
  ];
  for (const [spec, message] of cases) {
    await context.test(String(message), async () => {
      await assert.rejects(services.create({ spec }), (error: Error) => {
        assert.match(error.message, message);
        assert.notEqual(kindOf(error), 'internal');
        return true;
      });
    });
  }
});

function mount(Target: string, Source: string) {
  return { Type: 'bind' as const, Target, Source };
}

function port(TargetPort: number, PublishedPort: number) {
  return { TargetPort, PublishedPort };
}

function on(Target: string): ServiceSpec {
  return { ...WEB, TaskTemplate: { ...WEB.TaskTemplate, Networks: [{ Target }] } };
}

test('networks are kept by ID, those of every host by name', async () => {
  const { services, networks } = controlOver(await oneNodeSwarm());
  const { ID } = await networks.create({ Name: 'back' });
  await services.create({ spec: on('back') });
  await services.create({ spec: { ...on('host'), Name: 'b' } });
  assert.deepEqual(services.inspect('web').record.Spec.TaskTemplate.Networks, [{ Target: ID }]);
  assert.deepEqual(services.inspect('b').record.Spec.TaskTemplate.Networks, [{ Target: 'host' }]);
});

test('services are listed by their beginnings, labels and modes', async () => {
  const { services } = controlOver(await oneNodeSwarm());
  await services.create({ spec: { ...WEB, Labels: { tier: 'front' } } });
  await services.create({ spec: { ...WEB, Name: 'agent', Mode: { Global: {} } } });
  const names = (filters: Record<string, string[]>): string[] =>
    services.list(filters).map(({ record }) => record.Spec.Name);
  assert.deepEqual(names({}), ['web', 'agent']);
  assert.deepEqual(names({ name: ['we'] }), ['web']);
  assert.deepEqual(names({ mode: ['global'] }), ['agent']);
  assert.deepEqual(names({ label: ['tier=front'] }), ['web']);
  assert.deepEqual(names({ id: ['id0'] }), ['web']);
  assert.throws(() => names({ mode: ['odd'] }), { kind: 'invalid' });
});
