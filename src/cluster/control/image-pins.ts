import type { ReleaseRecord } from '#model/release.ts';
import { STACK_LABEL, type StackRequest } from '#model/stack.ts';
import type { ControlPorts } from './control-ports.ts';

/** Whether registries are asked for the digests of images: `changed` only for those that the last release has otherwise. */
export type ResolveImage = 'always' | 'changed' | 'never';

export interface ImagePins {
  /** By the names that the stack gives: with their digests. */
  readonly pins: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];
}

/**
 * The digests of a stack's images. A registry that does not answer changes nothing: the last release's digest of the same name stays, and
 * what never had one is left to the nodes, with a warning.
 */
export async function imagePins(
  stack: StackRequest,
  o: {
    last: ReleaseRecord | undefined;
    resolveImage: ResolveImage;
    /** By the keys of services. */
    registryAuth: Readonly<Record<string, string>>;
    ask: ControlPorts['resolveImage'];
  },
): Promise<ImagePins> {
  const known = new Map<string, string>();
  for (const { spec } of o.last?.spec.services ?? []) {
    known.set(spec.Labels?.[STACK_LABEL.image] ?? '', spec.TaskTemplate.ContainerSpec.Image);
  }
  const users = new Map(stack.services.map(({ key, spec }) => [spec.TaskTemplate.ContainerSpec.Image, key]));
  const pins = new Map<string, string>();
  const warnings: string[] = [];
  const pin = async (image: string, user: string): Promise<void> => {
    const before = known.get(image);
    if (image.includes('@') || o.resolveImage === 'never') return;
    if (o.resolveImage === 'changed' && before !== undefined) {
      pins.set(image, before);
      return;
    }
    try {
      if (o.ask !== undefined) pins.set(image, await o.ask(image, o.registryAuth[user]));
    } catch {
      if (before !== undefined) pins.set(image, before);
      else warnings.push(`image ${image} could not be accessed on a registry to record its digest`);
    }
  };
  await Promise.all([...users].map(([image, user]) => pin(image, user)));
  return { pins, warnings };
}
