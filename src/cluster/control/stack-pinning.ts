import { createHash, createHmac } from 'node:crypto';
import { invalid } from '#model/errors.ts';
import type { ServiceSpec } from '#model/service.ts';
import type { StackContent, StackFile, StackRequest, StackSpec } from '#model/stack.ts';
import { checkContentName } from './file-content.ts';

const DIGEST_CHARACTERS = 8;

/** Content that has to be there under its name before a release that uses it. */
export interface NamedContent {
  readonly kind: 'secret' | 'config';
  readonly file: StackFile;
  /** Base64. */
  readonly data: string;
}

export interface PinnedStack {
  readonly spec: StackSpec;
  readonly contents: readonly NamedContent[];
}

/**
 * A stack as a release keeps it: images as `image` gives them, secrets and configs by names that follow from their content
 * (`STACK_KEY_<8 hexadecimal digits>`). Digests of secrets are keyed with `salt`, so that their names do not tell what they are.
 */
export function pinStack(
  request: StackRequest,
  o: { salt: string; image: (image: string) => string },
): PinnedStack {
  const contents: NamedContent[] = [];
  const files = (kind: 'secret' | 'config'): Map<string, StackFile> =>
    new Map(
      request[`${kind}s`].map(({ data, ...content }) => {
        const name =
          content.name ?? versionedName(request.name, kind, { ...content, data: data ?? '' }, o.salt);
        const file: StackFile = { ...content, name };
        if (!content.external) {
          if (data === undefined) throw invalid(`${kind} ${content.key} has no content`);
          checkContentName(name);
          contents.push({ kind, file, data });
        }
        return [content.key, file];
      }),
    );
  const secrets = files('secret');
  const configs = files('config');
  const services = request.services.map((service) => ({
    ...service,
    spec: pinnedSpec(service.spec, { secrets, configs, image: o.image }),
  }));
  const spec = {
    name: request.name,
    networks: request.networks,
    secrets: [...secrets.values()],
    configs: [...configs.values()],
    services,
  };
  return { spec, contents };
}

function versionedName(
  stack: string,
  kind: 'secret' | 'config',
  { key, data, templateDriver = '' }: StackContent,
  salt: string,
): string {
  const hash = kind === 'secret' ? createHmac('sha256', salt) : createHash('sha256');
  const digest = hash
    .update(`${templateDriver}\n`)
    .update(Buffer.from(data ?? '', 'base64'))
    .digest('hex');
  return `${stack}_${key}_${digest.slice(0, DIGEST_CHARACTERS)}`;
}

function pinnedSpec(
  spec: ServiceSpec,
  o: {
    secrets: ReadonlyMap<string, StackFile>;
    configs: ReadonlyMap<string, StackFile>;
    image: (image: string) => string;
  },
): ServiceSpec {
  const { ContainerSpec, ...template } = spec.TaskTemplate;
  const { Secrets, Configs } = ContainerSpec;
  const nameOf = (files: ReadonlyMap<string, StackFile>, kind: string, key: string): string => {
    const file = files.get(key);
    if (file === undefined) throw invalid(`service ${spec.Name}: the stack has no ${kind} ${key}`);
    return file.name;
  };
  const container = {
    ...ContainerSpec,
    Image: o.image(ContainerSpec.Image),
    ...(Secrets === undefined
      ? {}
      : {
          Secrets: Secrets.map((each) => ({
            ...each,
            SecretID: '',
            SecretName: nameOf(o.secrets, 'secret', each.SecretName),
          })),
        }),
    ...(Configs === undefined
      ? {}
      : {
          Configs: Configs.map((each) => ({
            ...each,
            ConfigID: '',
            ConfigName: nameOf(o.configs, 'config', each.ConfigName),
          })),
        }),
  };
  return { ...spec, TaskTemplate: { ContainerSpec: container, ...template } };
}
