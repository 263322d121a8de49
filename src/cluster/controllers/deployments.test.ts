import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StackWorld, stackOfServices, stackService } from '#cluster/control/stack-fixture.ts';
import type { StackRequest } from '#model/stack.ts';

const JOB = { Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } } };

/** A database, its schema, and two services that need it. */
function shop(version = 1): StackRequest {
  return stackOfServices(
    stackService('db'),
    stackService('schema', { image: `app:${version}`, dependsOn: { db: 'service_healthy' }, spec: JOB }),
    stackService('app', {
      image: `app:${version}`,
      dependsOn: { schema: 'service_completed_successfully', db: 'service_started' },
    }),
    stackService('mail'),
  );
}

async function deploy(world: StackWorld, stack: StackRequest): Promise<number> {
  const { number } = await world.control.releases.deploy({ stack, resolveImage: 'never' });
  await world.settle();
  return number;
}

function state(world: StackWorld): string {
  const { State, Message } = world.control.releases.inspect('shop', 'last').record.status;
  return Message === '' ? State : `${State}: ${Message}`;
}

test('services come in waves: each when those it depends on run or are completed', async () => {
  using world = await StackWorld.made();
  await deploy(world, shop());
  assert.deepEqual(Object.keys(world.running), ['shop_db', 'shop_mail']);
  await world.tasks('db', 'starting');
  await world.settle();
  assert.equal(world.service('schema'), undefined);
  await world.tasks('db', 'running');
  await world.settle();
  assert.deepEqual(Object.keys(world.running), ['shop_db', 'shop_mail', 'shop_schema']);
  await world.tasks('schema', 'running');
  await world.settle();
  assert.equal(world.service('app'), undefined);
  await world.tasks('schema', 'complete');
  await world.settle();
  assert.equal(world.running['shop_app'], 'app:1');
  assert.equal(state(world), 'deploying');
  await world.tasks('app', 'running');
  await world.tasks('mail', 'running');
  await world.settle();
  assert.equal(state(world), 'deployed');
});

test('an update goes the same way, and leaves alone what does not change', async () => {
  using world = await StackWorld.made();
  await world.deployed(shop());
  assert.equal(state(world), 'deployed');
  const before = world.service('db')?.UpdatedAt;
  await deploy(world, shop(2));
  assert.deepEqual(world.running, {
    shop_app: 'app:1',
    shop_db: 'db:1',
    shop_mail: 'mail:1',
    shop_schema: 'app:2',
  });
  await world.tasks('schema', 'complete');
  await world.settle();
  assert.equal(world.running['shop_app'], 'app:2');
  assert.equal(world.service('db')?.UpdatedAt, before);
});

test('when a service fails nothing more is touched, and the release says why', async () => {
  using world = await StackWorld.made();
  await world.deployed(shop());
  await deploy(world, shop(2));
  await world.tasks('schema', 'failed');
  await world.settle();
  assert.equal(state(world), 'failed: service shop_schema: a task failed: exit 1');
  assert.equal(world.running['shop_app'], 'app:1');
  // what is deployed again has another go
  assert.equal(
    (await world.control.releases.deploy({ stack: shop(2), resolveImage: 'never' })).outcome,
    'again',
  );
  const run = world.service('schema')?.JobStatus?.JobIteration ?? 0;
  await world.settle();
  assert.equal(world.service('schema')?.JobStatus?.JobIteration, run + 1);
  await world.tasks('schema', 'complete');
  await world.settle();
  assert.equal(world.running['shop_app'], 'app:2');
});

test('an update that was paused goes on when the release is deployed again', async () => {
  using world = await StackWorld.made();
  const stack = stackOfServices(stackService('web', { image: 'web:2' }));
  await world.deployed(stackOfServices(stackService('web')));
  await deploy(world, stack);
  const service = world.service('web');
  assert.ok(service !== undefined);
  const UpdateStatus = { State: 'paused', Message: 'update paused', revision: service.revision } as const;
  await world.store.write({ table: 'service', put: { ...service, UpdateStatus } });
  await world.settle();
  assert.equal(state(world), 'failed: service shop_web: update paused');
  await deploy(world, stack);
  assert.equal(world.service('web')?.UpdateStatus, undefined);
  assert.equal(world.service('web')?.PreviousSpec?.TaskTemplate.ContainerSpec.Image, 'web:1');
});

test('an update that was rolled back fails the release', async () => {
  using world = await StackWorld.made();
  await world.deployed(stackOfServices(stackService('web')));
  await deploy(world, stackOfServices(stackService('web', { image: 'web:2' })));
  const service = world.service('web');
  assert.ok(service?.PreviousSpec !== undefined && service.previousRevision !== undefined);
  await world.store.write({
    table: 'service',
    put: {
      ...service,
      Spec: service.PreviousSpec,
      revision: service.previousRevision,
      UpdateStatus: {
        State: 'rollback_started',
        Message: 'update rolled back due to failure or early termination of task x',
        revision: service.previousRevision,
      },
    },
  });
  await world.settle();
  assert.equal(
    state(world),
    'failed: service shop_web: update rolled back due to failure or early termination of task x',
  );
});

test('services that are not in the stack any more go last, unless their port is wanted', async () => {
  using world = await StackWorld.made();
  const port = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] } };
  await world.deployed(stackOfServices(stackService('old', { spec: port }), stackService('idle')));
  await deploy(world, stackOfServices(stackService('new', { spec: port })));
  assert.deepEqual(Object.keys(world.running), ['shop_idle', 'shop_new']);
  await world.tasks('new', 'running');
  await world.settle();
  assert.deepEqual(Object.keys(world.running), ['shop_new']);
  assert.equal(state(world), 'deployed');
});

test('a port changes hands within a stack; one of others fails the release before anything is written', async () => {
  using world = await StackWorld.made();
  const on = (PublishedPort: number) => ({ EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort }] } });
  await world.deployed(stackOfServices(stackService('a', { spec: on(80) })));
  const proxied = stackOfServices(stackService('b', { spec: on(80) }), stackService('a', { spec: on(81) }));
  await deploy(world, proxied);
  assert.equal(world.service('b'), undefined);
  await world.tasks('a', 'running');
  await world.settle();
  assert.ok(world.service('b') !== undefined);
  await world.control.services.create({
    spec: { Name: 'stranger', TaskTemplate: { ContainerSpec: { Image: 'x' } }, ...on(90) },
  });
  const taken = stackOfServices(stackService('a', { spec: on(90) }));
  await assert.rejects(deploy(world, taken), {
    message: /port '90' is already in use by service 'stranger'/,
  });
});

test('a service whose mode changes is ended and made anew', async () => {
  using world = await StackWorld.made();
  await world.deployed(stackOfServices(stackService('web')));
  const before = world.service('web')?.ID;
  await deploy(world, stackOfServices(stackService('web', { spec: { Mode: { Global: {} } } })));
  assert.deepEqual(world.service('web')?.Spec.Mode, { Global: {} });
  assert.notEqual(world.service('web')?.ID, before);
});

test('a later release supersedes one that is being deployed', async () => {
  using world = await StackWorld.made();
  await deploy(world, shop());
  await deploy(world, shop(2));
  const [second, first] = world.control.releases.releases('shop');
  assert.deepEqual([first?.status.State, second?.status.State], ['superseded', 'deploying']);
});
