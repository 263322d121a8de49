import { invalid, notFound } from '#model/errors.ts';
import { STACK_LABEL, type StackContent, type StackNetwork, type StackRequest } from '#model/stack.ts';
import { withoutComposeLabels } from './container-spec.ts';
import { dependencyOrder } from './plan.ts';
import type { Project, ProjectNetwork } from './project.ts';
import type { ContentKind, ProjectContent } from './project-content.ts';
import { serviceSpec } from './service-spec.ts';
import { checkForCluster } from './single-machine-keys.ts';
import { given } from './value-reader.ts';

const STACK_NAME = /^[a-z0-9][a-z0-9_-]*$/;
const ON_EVERY_HOST: readonly string[] = ['host', 'bridge'];

export interface StackInput {
  /** A file's content; undefined where there is none. */
  readonly readContent: (path: string) => Uint8Array | undefined;
  readonly warn: (message: string) => void;
}

/** The name of a stack, which is part of the names of all that belongs to it. */
export function checkStackName(name: string): void {
  if (!STACK_NAME.test(name)) {
    throw invalid(`invalid stack name ${JSON.stringify(name)}: use lower case letters, digits, - and _`);
  }
}

/**
 * The stack that a project is on a cluster: the project's name is the stack's. What has no meaning there is told to `warn`; what would
 * run otherwise than the file says is `invalid`, each by name.
 */
export function stackRequest(project: Project, o: StackInput): StackRequest {
  checkStackName(project.name);
  const order = dependencyOrder(project);
  for (const service of order) checkForCluster(project, service, o.warn);
  const runOnce = new Set(
    order.flatMap(({ dependsOn }) =>
      [...dependsOn].flatMap(([key, each]) =>
        each.condition === 'service_completed_successfully' ? [key] : [],
      ),
    ),
  );
  const usedNetworks = new Set(order.flatMap(({ networks }) => [...networks.keys()]));
  const used = (kind: ContentKind): Set<string> =>
    new Set(order.flatMap((service) => service[`${kind}s`].map(({ source }) => source)));
  const contents = (kind: ContentKind): StackContent[] => {
    const names = used(kind);
    return [...project[`${kind}s`].values()]
      .filter(({ key }) => names.has(key))
      .map((content) => stackContent(project.name, kind, content, o));
  };
  return {
    name: project.name,
    networks: [...project.networks.values()]
      .filter(({ key }) => usedNetworks.has(key))
      .filter(({ external, name }) => !(external && ON_EVERY_HOST.includes(name)))
      .map((network) => stackNetwork(project.name, network, o.warn)),
    secrets: contents('secret'),
    configs: contents('config'),
    services: order.map((service) => ({
      key: service.name,
      spec: serviceSpec(project, service, { runsOnce: runOnce.has(service.name) }),
      dependsOn: Object.fromEntries(
        [...service.dependsOn]
          .filter(([key]) => project.services.has(key))
          .map(([key, { condition }]) => [key, condition]),
      ),
    })),
  };
}

function stackNetwork(
  stack: string,
  { key, name, external, body }: ProjectNetwork,
  warn: (message: string) => void,
): StackNetwork {
  const driver = body.Driver ?? 'overlay';
  if (driver !== 'overlay' && driver !== 'bridge')
    throw invalid(`networks.${key}: driver ${driver} is not there on a cluster: use overlay`);
  if (driver === 'bridge' && !external)
    warn(`networks.${key}: a bridge is one machine's: on a cluster it is an overlay network`);
  return {
    name,
    external,
    Labels: { ...withoutComposeLabels(body.Labels), [STACK_LABEL.namespace]: stack },
    // a bridge's options mean nothing to an overlay network
    Options: driver === 'bridge' ? {} : (body.Options ?? {}),
    Internal: body.Internal ?? false,
    Attachable: body.Attachable ?? false,
    ...given({ IPAM: body.IPAM }),
  };
}

function stackContent(
  stack: string,
  kind: ContentKind,
  content: ProjectContent,
  { readContent }: StackInput,
): StackContent {
  const { key, name, source, labels, templateDriver, place } = content;
  const shared = {
    key,
    external: source.kind === 'external',
    labels: { ...labels, [STACK_LABEL.namespace]: stack },
    ...given({ name, templateDriver }),
  };
  if (source.kind === 'external') return shared;
  const data = source.kind === 'text' ? Buffer.from(source.text) : readContent(source.path);
  const where = source.kind === 'text' ? 'its text' : source.path;
  if (data === undefined) throw notFound(`${place}: ${kind}s.${key}: ${where}: no such file`);
  if (data.length === 0) throw invalid(`${place}: ${kind}s.${key}: ${where} is empty`);
  return { ...shared, data: Buffer.from(data).toString('base64') };
}
