import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STACK_LABEL, type StackRequest } from '#model/stack.ts';
import { StackWorld, stackOfServices, stackService } from './stack-fixture.ts';

const LABELS = { [STACK_LABEL.namespace]: 'shop' };

/** A service with a secret and a config of these contents. */
function withFiles(secret: string, config = 'config'): StackRequest {
  const File = { Name: 'x', UID: '0', GID: '0', Mode: 0o444 };
  const ContainerSpec = {
    Image: 'web:1',
    Secrets: [{ File, SecretID: '', SecretName: 'key' }],
    Configs: [{ File, ConfigID: '', ConfigName: 'conf' }],
  };
  const content = (key: string, text: string) => ({
    key,
    external: false,
    labels: LABELS,
    data: Buffer.from(text).toString('base64'),
  });
  return {
    ...stackOfServices(stackService('web', { spec: { TaskTemplate: { ContainerSpec } } })),
    secrets: [content('key', secret)],
    configs: [content('conf', config)],
  };
}

function names(world: StackWorld, table: 'secret' | 'config'): string[] {
  return [...world.store.view.all(table)].map(({ Spec }) => Spec.Name).sort();
}

test('another content is another secret, rolls its users, and goes when no release names it', async () => {
  using world = await StackWorld.made();
  await world.deployed(withFiles('one'));
  const [first = ''] = names(world, 'secret');
  assert.match(first, /^shop_key_[0-9a-f]{8}$/);
  assert.match(names(world, 'config')[0] ?? '', /^shop_conf_[0-9a-f]{8}$/);
  const revision = world.service('web')?.revision;
  await world.deployed(withFiles('one'));
  assert.equal(world.service('web')?.revision, revision);
  await world.deployed(withFiles('two'));
  assert.notEqual(world.service('web')?.revision, revision);
  assert.equal(names(world, 'secret').length, 2);
  assert.equal(names(world, 'config').length, 1);
  for (let i = 0; i < 9; i++) await world.deployed(withFiles(`more ${i}`));
  assert.equal(world.control.releases.releases('shop').length, 10);
  assert.ok(!names(world, 'secret').includes(first));
});

test('a digest in the name of a secret is keyed: the content alone does not give it', async () => {
  using one = await StackWorld.made();
  await one.deployed(withFiles('1234'));
  const plain = withFiles('x', '1234');
  using other = await StackWorld.made();
  await other.deployed(plain);
  const digest = (name = ''): string => name.slice(-8);
  assert.notEqual(digest(names(one, 'secret')[0]), digest(names(other, 'config')[0]));
});

test('what is deployed already makes no release, and is brought back where the cluster differs', async () => {
  using world = await StackWorld.made();
  const stack = stackOfServices(stackService('web'));
  const { releases, services } = world.control;
  await world.deployed(stack);
  const again = async () => {
    const { number, outcome } = await releases.deploy({ stack, resolveImage: 'always' });
    return [number, outcome];
  };
  assert.deepEqual(await again(), [1, 'unchanged']);
  const { record, revision: version } = services.inspect('shop_web');
  const spec = { ...record.Spec, Mode: { Replicated: { Replicas: 5 } } };
  await services.update('shop_web', { spec, version });
  assert.deepEqual(await again(), [1, 'again']);
  await world.settle();
  assert.deepEqual(world.service('web')?.Spec.Mode, { Replicated: { Replicas: 1 } });
});

test('images are pinned; a registry that is away changes nothing', async () => {
  let isThere = true;
  using world = await StackWorld.made({
    resolveImage: async (image) => {
      if (!isThere) throw new Error('away');
      return `${image}@sha256:${'a'.repeat(64)}`;
    },
  });
  const stack = stackOfServices(stackService('web'));
  await world.deployed(stack);
  assert.equal(world.running['shop_web'], `web:1@sha256:${'a'.repeat(64)}`);
  isThere = false;
  const done = await world.control.releases.deploy({ stack, resolveImage: 'always' });
  assert.deepEqual([done.outcome, done.warnings], ['unchanged', []]);
  const other = stackOfServices(stackService('web', { image: 'web:2' }));
  const { warnings } = await world.control.releases.deploy({ stack: other, resolveImage: 'always' });
  assert.deepEqual(warnings, ['image web:2 could not be accessed on a registry to record its digest']);
});

test('a rollback is the deployment of an older release under a new number', async () => {
  using world = await StackWorld.made();
  const version = (number: number) => stackOfServices(stackService('web', { image: `web:${number}` }));
  await world.deployed(version(1));
  const { releases } = world.control;
  await assert.rejects(releases.rollBack('shop', undefined), { kind: 'not-found' });
  await world.deployed(version(2));
  await releases.deploy({ stack: version(3), resolveImage: 'always' });
  await world.settle();
  await world.tasks('web', 'failed');
  await world.settle();
  assert.equal(releases.inspect('shop', 'last').record.status.State, 'failed');
  const { number, from } = await releases.rollBack('shop', undefined);
  assert.deepEqual([number, from], [4, 2]);
  await world.settle();
  assert.equal(world.running['shop_web'], 'web:2');
  await assert.rejects(releases.rollBack('shop', 4), { kind: 'invalid' });
  await assert.rejects(releases.rollBack('shop', 9), { kind: 'not-found' });
  assert.equal((await releases.rollBack('shop', 1)).number, 5);
  await world.settle();
  assert.equal(world.running['shop_web'], 'web:1');
});

test('a rollback makes networks again that went with a later release', async () => {
  using world = await StackWorld.made();
  const TaskTemplate = { ContainerSpec: { Image: 'web:1' } };
  const alone = { ...stackOfServices(stackService('web', { spec: { TaskTemplate } })), networks: [] };
  const networks = (): string[] => world.control.networks.list().map(({ Name }) => Name);
  await world.deployed(stackOfServices(stackService('web')));
  await world.deployed(alone);
  assert.deepEqual(networks(), ['ingress']);
  await world.control.releases.rollBack('shop', undefined);
  assert.deepEqual(networks(), ['ingress', 'shop_default']);
  await world.settle();
  assert.equal(world.service('web')?.Spec.TaskTemplate.Networks?.length, 1);
});

test('credentials are sealed for the service that pulls with them, also by a rollback', async () => {
  using world = await StackWorld.made({
    sealer: {
      seal: (data, purpose) => `${purpose}:${data.toString()}`,
      unseal: (text, purpose) => {
        assert.ok(text.startsWith(`${purpose}:`), `${text} is not for ${purpose}`);
        return Buffer.from(text.slice(purpose.length + 1));
      },
    },
  });
  const { releases, services } = world.control;
  const sealed = (): string | undefined => world.service('web')?.sealedRegistryAuth;
  const deploy = async (image: string, auth: string): Promise<void> => {
    const stack = stackOfServices(stackService('web', { image }));
    await releases.deploy({ stack, resolveImage: 'never', registryAuth: { web: auth } });
    await world.settle();
    await world.tasks('web', 'running');
    await world.settle();
  };
  await deploy('web:1', 'one');
  assert.equal(sealed(), `registry-auth/${world.service('web')?.ID}:one`);
  await deploy('web:2', 'two');
  await services.remove('shop_web');
  await releases.rollBack('shop', 1);
  await world.settle();
  assert.equal(sealed(), `registry-auth/${world.service('web')?.ID}:one`);
});

test('what is there under a name of the stack and is another is refused', async () => {
  using world = await StackWorld.made();
  const { services, releases, secrets, networks } = world.control;
  await services.create({ spec: { Name: 'shop_web', TaskTemplate: { ContainerSpec: { Image: 'x' } } } });
  await assert.rejects(world.deployed(stackOfServices(stackService('web'))), {
    message: 'service shop_web is there already, and is not of the stack shop',
  });
  await services.remove('shop_web');
  await secrets.create({ spec: { Name: 'fixed' }, data: Buffer.from('one').toString('base64') });
  const [secret] = withFiles('two').secrets;
  assert.ok(secret !== undefined);
  const fixed = { ...withFiles('two'), secrets: [{ ...secret, name: 'fixed' }] };
  await assert.rejects(releases.deploy({ stack: fixed, resolveImage: 'never' }), {
    message: /^secret fixed is there with another content/,
  });
  await networks.create({ Name: 'shop_default', Internal: true }).catch(() => undefined);
  await networks.remove('shop_default');
  await networks.create({ Name: 'shop_default', Internal: true });
  await assert.rejects(world.deployed(stackOfServices(stackService('api'))), {
    message: /^network shop_default is there with another internal/,
  });
});

test('a stack goes with all that is its own', async () => {
  using world = await StackWorld.made();
  await world.deployed(withFiles('one'));
  const { releases, secrets } = world.control;
  await secrets.create({ spec: { Name: 'mine' }, data: Buffer.from('one').toString('base64') });
  assert.deepEqual(
    releases.list().map(({ name, services, release }) => [name, services, release?.number]),
    [['shop', 1, 1]],
  );
  await releases.remove('shop');
  assert.deepEqual(world.running, {});
  assert.deepEqual(names(world, 'secret'), ['mine']);
  assert.deepEqual(releases.list(), []);
  await assert.rejects(releases.remove('shop'), { message: 'nothing found in stack: shop' });
});
