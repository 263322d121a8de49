import type { ReleaseRecord } from '#model/release.ts';
import type { ServiceSpec } from '#model/service.ts';
import { STACK_LABEL, type StackContent, type StackRequest, type StackService } from '#model/stack.ts';
import type { SeededRandom } from './seeded-random.ts';
import { taskTemplate, updateConfig } from './service-specs.ts';
import { IMAGES, type ImageName, SOUND_IMAGES } from './simulated-engine.ts';

/** Which of a stack's deployments that clients asked for a release is, on each of its services. */
const CHANGE = 'change';
const KEYS = ['db', 'app', 'mail'] as const;
const CONTENTS = ['one', 'two', 'three'] as const;

/** A stack of one to three services, which depend on each other and use a config whose content changes. */
export function newStack(name: string, change: string, random: SeededRandom, isCalm: boolean): StackRequest {
  const count = random.between(1, KEYS.length);
  const hasNetwork = random.chance(40);
  const hasConfig = random.chance(70);
  const services = KEYS.slice(0, count).map((key, index): StackService => {
    const before = KEYS[index - 1];
    const dependsOn =
      before !== undefined && random.chance(50) ? { [before]: 'service_started' as const } : {};
    const images: readonly ImageName[] = isCalm || random.chance(85) ? SOUND_IMAGES : IMAGES;
    const picked = random.pick(images);
    const image = picked === 'finishing' ? 'crashing' : picked;
    return { key, dependsOn, spec: serviceSpec(name, key, { change, random, image, hasNetwork, hasConfig }) };
  });
  return {
    name,
    networks: hasNetwork ? [network(name)] : [],
    secrets: [],
    configs: hasConfig ? [config(name, random)] : [],
    services,
  };
}

/** The deployment that a release is of. */
export function changeOf({ spec }: ReleaseRecord): string {
  return spec.services[0]?.spec.Labels?.[CHANGE] ?? '';
}

function serviceSpec(
  stack: string,
  key: string,
  o: { change: string; random: SeededRandom; image: ImageName; hasNetwork: boolean; hasConfig: boolean },
): ServiceSpec {
  const { random } = o;
  const { Networks: _, ...template } = taskTemplate(random, {
    image: o.image,
    secrets: [],
    hasVolume: random.chance(10),
  });
  const File = { Name: 'settings', UID: '0', GID: '0', Mode: 0o444 };
  const Configs = o.hasConfig ? { Configs: [{ File, ConfigID: '', ConfigName: 'settings' }] } : {};
  return {
    Name: `${stack}_${key}`,
    Labels: {
      [STACK_LABEL.namespace]: stack,
      [STACK_LABEL.image]: template.ContainerSpec.Image,
      [CHANGE]: o.change,
    },
    Mode: { Replicated: { Replicas: random.between(1, 3) } },
    TaskTemplate: {
      ...template,
      ContainerSpec: { ...template.ContainerSpec, ...Configs },
      ...(o.hasNetwork ? { Networks: [{ Target: `${stack}_default`, Aliases: [key] }] } : {}),
    },
    ...(random.chance(60) ? { UpdateConfig: updateConfig(random, true) } : {}),
  };
}

function network(stack: string): StackRequest['networks'][number] {
  const Labels = { [STACK_LABEL.namespace]: stack };
  return {
    name: `${stack}_default`,
    external: false,
    Labels,
    Options: {},
    Internal: false,
    Attachable: false,
  };
}

function config(stack: string, random: SeededRandom): StackContent {
  const data = Buffer.from(random.pick(CONTENTS)).toString('base64');
  return { key: 'settings', external: false, labels: { [STACK_LABEL.namespace]: stack }, data };
}
