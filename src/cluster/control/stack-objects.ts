import { timingSafeEqual } from 'node:crypto';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { invalid } from '#model/errors.ts';
import type { StackNetwork } from '#model/stack.ts';
import { ConfigControl } from './config-control.ts';
import { type ControlPorts, secretPurpose } from './control-ports.ts';
import { findUnused } from './file-content.ts';
import { NetworkControl, removal } from './network-control.ts';
import type { RecordWriter } from './record-writer.ts';
import { SecretControl } from './secret-control.ts';
import { releasesOf } from './stack-cleanup.ts';
import type { NamedContent, PinnedStack } from './stack-pinning.ts';
import { networkNamed, servicesOfStack, stackOf } from './stack-services.ts';

/** The networks, secrets and configs of stacks: what has to be there before services are. */
export class StackObjects {
  readonly #ports: ControlPorts;
  readonly #secrets: SecretControl;
  readonly #configs: ConfigControl;
  readonly #networks: NetworkControl;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#secrets = new SecretControl(ports, writer);
    this.#configs = new ConfigControl(ports, writer);
    this.#networks = new NetworkControl(ports, writer);
  }

  /** Makes those that are missing. Throws `invalid` for what is there and is another; what was made until then stays. */
  async make({ spec, contents }: PinnedStack): Promise<void> {
    const { view } = this.#ports.follower;
    const [problem] = this.problems(view, { spec, contents });
    if (problem !== undefined) throw invalid(problem);
    for (const { kind, file, data } of contents) {
      if (view.holderOf(kind, file.name) !== undefined) continue;
      const Templating =
        file.templateDriver === undefined ? {} : { Templating: { Name: file.templateDriver } };
      const common = { Name: file.name, Labels: file.labels, ...Templating };
      if (kind === 'secret') await this.#secrets.create({ spec: common, data });
      else await this.#configs.create({ ...common, Data: data });
    }
    for (const network of spec.networks) {
      if (network.external || networkNamed(view, network.name) !== undefined) continue;
      const { name, external: _never, ...rest } = network;
      await this.#networks.create({ Name: name, ...rest });
    }
  }

  /** What is there under a name of the stack's and is not what the stack says: neither can be changed. */
  problems(view: ClusterView, { spec, contents }: PinnedStack): string[] {
    return [
      ...contents.flatMap((content) => this.#contentProblem(view, content)),
      ...spec.networks.flatMap((network) => networkProblem(view, network)),
    ];
  }

  /** What removes a stack: everything of one kind before the next, as networks are free when services are gone. */
  removals(view: ClusterView, stack: string, now: string): Write[] {
    const services = servicesOfStack(view, stack);
    if (services.length > 0) {
      // the newest release first, or the leader would make them again
      const releases = releasesOf(view, stack).map(({ ID }): Write => ({ table: 'release', delete: ID }));
      return [
        ...releases,
        ...services.map(
          (put): Write => ({
            table: 'service',
            put: { ...put, removing: true, UpdatedAt: now },
          }),
        ),
      ];
    }
    const contents = (table: 'secret' | 'config'): string[] =>
      [...view.all(table)]
        .filter(({ Spec }) => stackOf(Spec.Labels) === stack)
        .map(({ ID }) => findUnused(view, table, ID));
    return [
      ...[...view.all('network')]
        .filter(({ Labels, removing }) => stackOf(Labels) === stack && removing !== true)
        .map((network) => removal(view, network)),
      ...contents('secret').map((id): Write => ({ table: 'secret', delete: id })),
      ...contents('config').map((id): Write => ({ table: 'config', delete: id })),
      ...releasesOf(view, stack).map(({ ID }): Write => ({ table: 'release', delete: ID })),
    ];
  }

  #contentProblem(view: ClusterView, { kind, file, data }: NamedContent): string[] {
    const wanted = Buffer.from(data, 'base64');
    const there = this.#contentOf(view, kind, file.name);
    if (there === undefined) return [];
    if (there.length === wanted.length && timingSafeEqual(there, wanted)) return [];
    return [
      `${kind} ${file.name} is there with another content, which cannot be changed: leave out its name for one that follows from the content`,
    ];
  }

  #contentOf(view: ClusterView, kind: 'secret' | 'config', name: string): Buffer | undefined {
    if (kind === 'config') {
      const config = view.named('config', name);
      return config === undefined ? undefined : Buffer.from(config.Spec.Data, 'base64');
    }
    const secret = view.named('secret', name);
    return secret === undefined
      ? undefined
      : this.#ports.sealer.unseal(secret.sealed, secretPurpose(secret.ID));
  }
}

function networkProblem(view: ClusterView, network: StackNetwork): string[] {
  const there = networkNamed(view, network.name);
  if (there === undefined)
    return network.external ? [`network ${network.name} declared as external, but could not be found`] : [];
  if (network.external) return [];
  const different = differentFields(there, network);
  if (different.length === 0) return [];
  return [
    `network ${network.name} is there with another ${different.join(' and ')}, which cannot be changed: remove it, or give the new one another name`,
  ];
}

function differentFields(there: ClusterNetworkRecord, network: StackNetwork): string[] {
  const subnet = network.IPAM?.Config?.[0]?.Subnet;
  const options = Object.entries(network.Options).some(([key, value]) => there.Options[key] !== value);
  return [
    ...(there.Internal === network.Internal ? [] : ['internal']),
    ...(there.Attachable === network.Attachable ? [] : ['attachable']),
    ...(options ? ['driver_opts'] : []),
    ...(subnet === undefined || there.IPAM.Config.some(({ Subnet }) => Subnet === subnet) ? [] : ['subnet']),
  ];
}
