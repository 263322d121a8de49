import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StackRequest } from '#model/stack.ts';
import type { ServicePlan, StackPlan } from '#model/stack-plan.ts';
import { StackWorld, stackOfServices, stackService } from './stack-fixture.ts';

async function planned(world: StackWorld, stack: StackRequest): Promise<StackPlan> {
  return await world.control.releases.plan('shop', { stack, resolveImage: 'never' });
}

function service(plan: StackPlan, key: string): ServicePlan {
  const found = plan.services.find(({ name }) => name === `shop_${key}`);
  assert.ok(found !== undefined, `the plan has no service ${key}`);
  return found;
}

function withEnv(key: string, ...Env: string[]): ReturnType<typeof stackService> {
  const TaskTemplate = {
    ContainerSpec: { Image: `${key}:1`, Env },
    Networks: [{ Target: 'shop_default', Aliases: [key] }],
  };
  return stackService(key, { spec: { TaskTemplate } });
}

test('the first plan makes everything, in order', async () => {
  using world = await StackWorld.made();
  const web = stackService('web', { dependsOn: { db: 'service_started' } });
  const plan = await planned(world, stackOfServices(stackService('db'), web));
  assert.deepEqual(plan.objects, [{ kind: 'network', name: 'shop_default', action: 'create' }]);
  assert.deepEqual(
    plan.services.map(({ name, action, starts, after }) => [name, action, starts, after]),
    [
      ['shop_db', 'create', 1, []],
      ['shop_web', 'create', 1, ['shop_db']],
    ],
  );
  assert.deepEqual([plan.release, plan.problems], [0, []]);
  // a plan writes nothing
  assert.deepEqual([world.running, world.control.releases.list()], [{}, []]);
});

test('a change is told field by field, with the tasks that restart and where they are', async () => {
  using world = await StackWorld.made();
  await world.deployed(stackOfServices(withEnv('web', 'A=1', 'B=2'), stackService('db')));
  const plan = await planned(world, stackOfServices(withEnv('web', 'B=3', 'C=4'), stackService('db')));
  assert.deepEqual(service(plan, 'web').changes, [
    { path: 'TaskTemplate.ContainerSpec.Env[A]', before: 'A=1', drift: false },
    { path: 'TaskTemplate.ContainerSpec.Env[B]', before: 'B=2', after: 'B=3', drift: false },
    { path: 'TaskTemplate.ContainerSpec.Env[C]', after: 'C=4', drift: false },
  ]);
  assert.deepEqual(service(plan, 'web').restarts, [{ name: 'shop_web.1', node: 'one', state: 'running' }]);
  assert.deepEqual(service(plan, 'db').action, 'none');
});

test('replicas end or start, and nothing restarts', async () => {
  using world = await StackWorld.made();
  const of = (Replicas: number) =>
    stackOfServices(stackService('web', { spec: { Mode: { Replicated: { Replicas } } } }));
  await world.deployed(of(3));
  const fewer = service(await planned(world, of(1)), 'web');
  assert.deepEqual(
    fewer.ends.map(({ name }) => name),
    ['shop_web.3', 'shop_web.2'],
  );
  assert.deepEqual([fewer.restarts, fewer.starts], [[], 0]);
  assert.equal(service(await planned(world, of(5)), 'web').starts, 2);
});

test('what was changed by hand is told from what the file changes', async () => {
  using world = await StackWorld.made();
  const stack = stackOfServices(stackService('web'));
  await world.deployed(stack);
  const { services, releases } = world.control;
  const { record, revision: version } = services.inspect('shop_web');
  const { TaskTemplate } = record.Spec;
  const spec = {
    ...record.Spec,
    Mode: { Replicated: { Replicas: 4 } },
    TaskTemplate: { ...TaskTemplate, ForceUpdate: 1 },
  };
  await services.update('shop_web', { spec, version });
  const scaled = { path: 'Mode.Replicated.Replicas', before: 4, after: 1, drift: true };
  assert.deepEqual(service(await planned(world, stack), 'web').changes, [scaled]);
  assert.deepEqual(service(await releases.plan('shop', { release: 'last' }), 'web').changes, [scaled]);
  const other = stackOfServices(stackService('web', { image: 'web:2' }));
  assert.deepEqual(
    service(await planned(world, other), 'web').changes.map(({ path, drift }) => [path, drift]),
    [
      ['Labels[com.docker.stack.image]', false],
      ['TaskTemplate.ContainerSpec.Image', false],
      ['Mode.Replicated.Replicas', true],
    ],
  );
});

test('what is not asked for any more is removed; another mode is another service', async () => {
  using world = await StackWorld.made();
  await world.deployed(stackOfServices(stackService('web'), stackService('old')));
  const plan = await planned(world, {
    ...stackOfServices(stackService('web', { spec: { Mode: { Global: {} }, TaskTemplate: LONELY } })),
    networks: [],
  });
  assert.equal(service(plan, 'web').action, 'recreate');
  assert.deepEqual(
    [service(plan, 'old').action, service(plan, 'old').ends.map(({ name }) => name)],
    ['remove', ['shop_old.1']],
  );
  assert.deepEqual(plan.objects, [{ kind: 'network', name: 'shop_default', action: 'remove' }]);
});

const LONELY = { ContainerSpec: { Image: 'web:1' } };

test('tasks that would find no room are told with the reason', async () => {
  using world = await StackWorld.made();
  const GIB = 2 ** 30;
  const of = (Replicas: number, MemoryBytes: number) =>
    stackOfServices(
      stackService('web', {
        spec: {
          Mode: { Replicated: { Replicas } },
          TaskTemplate: { ...LONELY, Resources: { Reservations: { MemoryBytes } } },
        },
      }),
    );
  // the node has 4 GiB
  assert.equal(service(await planned(world, of(3, GIB)), 'web').misfit, undefined);
  assert.equal(
    service(await planned(world, of(6, GIB)), 'web').misfit,
    '2 of 6 tasks: no suitable node (insufficient resources on 1 node)',
  );
  await world.deployed(of(3, GIB));
  // stopped first, the old ones leave room for the new ones
  assert.equal(service(await planned(world, of(4, GIB)), 'web').misfit, undefined);
  assert.ok(service(await planned(world, of(5, GIB)), 'web').misfit !== undefined);
});

test('what a deployment would be refused for stands in the plan', async () => {
  using world = await StackWorld.made();
  const { services } = world.control;
  const port = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] } };
  await services.create({ spec: { Name: 'proxy', TaskTemplate: LONELY, ...port } });
  const Placement = { Constraints: ['node.role'] };
  const { problems } = await planned(
    world,
    stackOfServices(
      stackService('web', { spec: port }),
      stackService('api', { spec: { TaskTemplate: { ...LONELY, Placement } } }),
    ),
  );
  assert.equal(problems.length, 2);
  assert.match(problems[0] ?? '', /^service shop_web: port '80' is already in use by service 'proxy'/);
  assert.match(problems[1] ?? '', /^service shop_api: .*constraint/);
});

test('a plan that is carried out refuses when the world has moved, and says what', async () => {
  using world = await StackWorld.made();
  const stack = stackOfServices(stackService('web'));
  const { releases, services } = world.control;
  const { basis } = await planned(world, stack);
  await world.deployed(stack);
  const carryOut = (on: StackPlan['basis'], request: StackRequest) =>
    releases.deploy({ stack: request, resolveImage: 'never', basis: on });
  await assert.rejects(carryOut(basis, stack), {
    kind: 'conflict',
    message:
      'the cluster has moved since the plan was made: release 1 was made, service shop_web was made, network shop_default was made',
  });
  const other = stackOfServices(stackService('web', { image: 'web:2' }));
  const now = (await planned(world, other)).basis;
  const { record, revision: version } = services.inspect('shop_web');
  const scaled = { ...record.Spec, Mode: { Replicated: { Replicas: 2 } } };
  await services.update('shop_web', { spec: scaled, version });
  await assert.rejects(carryOut(now, other), { message: /: service shop_web was changed$/ });
  assert.equal((await carryOut((await planned(world, other)).basis, other)).outcome, 'created');
});
