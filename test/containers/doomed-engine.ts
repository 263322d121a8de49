import { EngineFixture } from './engine-fixture.ts';

/**
 * An engine to be killed: takes over the roots given as arguments, says `ready`, and then makes, starts, stops and
 * removes containers for ever.
 */
const [, , dataRoot = '', execRoot = ''] = process.argv;
const engine = await EngineFixture.takeOver({ dataRoot, execRoot, bridge: 'dvc1' });
process.stdout.write('ready\n');
for (;;) {
  const id = await engine.create(['sleep', '1000'], { host: { Binds: ['/data'] } });
  await engine.containers.startContainer(id);
  await engine.containers.stopContainer(id, { timeoutSeconds: 0 });
  await engine.containers.remove(id, { force: false, volumes: true, link: false });
}
