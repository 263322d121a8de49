import { AttachmentControl } from './attachment-control.ts';
import { ConfigControl } from './config-control.ts';
import type { ControlPorts } from './control-ports.ts';
import { NetworkControl } from './network-control.ts';
import { NodeControl } from './node-control.ts';
import { RecordWriter } from './record-writer.ts';
import { ReleaseControl } from './release-control.ts';
import { SecretControl } from './secret-control.ts';
import { ServiceControl } from './service-control.ts';
import { SwarmControl } from './swarm-control.ts';
import { TaskControl } from './task-control.ts';

/**
 * What Docker's API asks of a cluster, on any of its managers. Reading is from the view, at what it costs to look there; a write
 * resolves when the view has it, so that a client reads what it wrote.
 */
export class ClusterControl {
  readonly services: ServiceControl;
  readonly tasks: TaskControl;
  readonly nodes: NodeControl;
  readonly secrets: SecretControl;
  readonly configs: ConfigControl;
  readonly networks: NetworkControl;
  readonly attachments: AttachmentControl;
  readonly swarm: SwarmControl;
  readonly releases: ReleaseControl;

  constructor(ports: ControlPorts) {
    const writer = new RecordWriter(ports);
    this.services = new ServiceControl(ports, writer);
    this.tasks = new TaskControl(ports);
    this.nodes = new NodeControl(ports, writer);
    this.secrets = new SecretControl(ports, writer);
    this.configs = new ConfigControl(ports, writer);
    this.networks = new NetworkControl(ports, writer);
    this.attachments = new AttachmentControl(ports, writer);
    this.swarm = new SwarmControl(ports, writer);
    this.releases = new ReleaseControl(ports, writer);
  }
}
