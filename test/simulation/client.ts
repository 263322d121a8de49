import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import { STACK_LABEL, type StackRequest } from '#model/stack.ts';
import { GONE, Ledger } from './ledger.ts';
import { releasesOf } from './releases.ts';
import type { SeededRandom } from './seeded-random.ts';
import { type KnownSecret, newSpec, taskTemplate, updateConfig } from './service-specs.ts';
import { OVERLAY, type SimulatedCluster } from './simulated-cluster.ts';
import { IMAGES, SOUND_IMAGES } from './simulated-engine.ts';
import { changeOf, newStack } from './stack-client.ts';

/** Each change of a service has a number of its own in it, so that it is seen which one is there. */
const CHANGE = 'change';
const MOST_SERVICES = 5;
const MOST_MANAGERS = 5;
const STACKS = ['shop', 'blog'] as const;
const WRITER = 'drover.single-writer';

/**
 * People at their command lines: each request goes to some manager that is up, as the API would pass it on. What was acknowledged is
 * kept, to be compared with what is there in the end.
 */
export class SimulatedClient {
  readonly ledger: Ledger = new Ledger();
  readonly #cluster: SimulatedCluster;
  readonly #random: SeededRandom;
  readonly #isCalm: boolean;
  readonly #secrets = new Map<string, KnownSecret>();
  /** What was asked last of each stack, and which change that was. */
  readonly #stacks = new Map<string, { stack: StackRequest; asked: string }>();
  #numbers = 0;

  constructor(cluster: SimulatedCluster, o: { isCalm: boolean }) {
    this.#cluster = cluster;
    this.#random = cluster.random.fork();
    this.#isCalm = o.isCalm;
    for (const { id, manages } of cluster.nodes) {
      this.ledger.know(`node ${id}`, 'active');
      this.ledger.know(`role ${id}`, manages ? 'manager' : 'worker');
    }
  }

  /** Asks for something, and does not wait for the answer. */
  act(): void {
    if (this.#random.chance(15)) {
      this.#handleContainer();
      return;
    }
    const services = this.#services();
    if (services.length === 0 || (services.length < MOST_SERVICES && this.#random.chance(15))) {
      this.createService();
      return;
    }
    const service = this.#random.pick(services);
    const act = this.#random.below(100);
    if (act < 25) this.#scale(service, this.#random.between(0, 8));
    else if (act < 48) this.#update(service);
    else if (act < 55) this.#toggleWriter(service);
    else if (act < 62) this.#rollBack(service);
    else if (act < 70) this.removeService(service);
    else if (act < 75) this.#createSecret();
    else if (act < 77) this.#removeSecret();
    else if (act < 82) this.#deployStack();
    else if (act < 84) this.rollBackStack();
    else if (act === 84) this.#removeStack();
    else if (this.#isCalm) this.#scale(service, this.#random.between(1, 6));
    else if (act < 89) this.#setNode();
    else if (act < 92) this.#changeRole();
    else if (act < 95) this.#replaceNode();
    else this.#meddle();
  }

  createService(): void {
    const name = `s${++this.#numbers}`;
    const change = this.#number();
    const spec = withChange(newSpec(name, this.#random, [...this.#secrets.values()]), change);
    const image = spec.TaskTemplate.ContainerSpec.Image;
    this.#ask(`service ${name}`, change, `creates ${name} ${JSON.stringify(spec.Mode)} ${image}`, (control) =>
      control.services.create({ spec }),
    );
  }

  removeService({ Spec: { Name } }: ServiceRecord): void {
    this.#ask(`service ${Name}`, GONE, `removes ${Name}`, async (control) => control.services.remove(Name));
  }

  activate(nodeId: string): void {
    this.#updateNode(nodeId, 'active');
  }

  /** What was acknowledged and is not there. */
  lost(): Iterable<string> {
    const { truth } = this.#cluster;
    return this.ledger.lost((key) => {
      const [table, name = ''] = key.split(' ');
      if (table === 'secret') return truth.named('secret', name) === undefined ? GONE : 'there';
      if (table === 'node') return truth.get('node', name)?.Spec.Availability ?? GONE;
      // one that was removed has none
      if (table === 'stack') {
        const [newest] = releasesOf(truth, name);
        return newest === undefined ? GONE : changeOf(newest);
      }
      if (table === 'role') return truth.get('node', name)?.Spec.Role;
      return changeIn(truth.named('service', name));
    });
  }

  #services(): ServiceRecord[] {
    const { truth } = this.#cluster;
    return [...truth.all('service')].filter(
      ({ removing, Spec }) =>
        removing !== true &&
        Spec.Labels?.[STACK_LABEL.namespace] === undefined &&
        !this.ledger.isBusy(`service ${Spec.Name}`),
    );
  }

  #scale(service: ServiceRecord, replicas: number): void {
    if (service.Spec.Mode?.Replicated === undefined) return;
    this.#change(service, `scales to ${replicas}`, (spec) => ({
      ...spec,
      Mode: { Replicated: { Replicas: replicas } },
    }));
  }

  #update(service: ServiceRecord): void {
    const random = this.#random;
    const { Mode, TaskTemplate } = service.Spec;
    const isJob = Mode?.ReplicatedJob !== undefined || Mode?.GlobalJob !== undefined;
    const any = this.#isCalm || random.chance(70) ? SOUND_IMAGES : IMAGES;
    const picked = random.pick(any);
    const image = isJob ? 'finishing' : picked === 'finishing' ? 'crashing' : picked;
    const hasVolume = TaskTemplate.ContainerSpec.Mounts !== undefined && random.chance(80);
    const template = taskTemplate(random, { image, secrets: [...this.#secrets.values()], hasVolume });
    const config = !isJob && random.chance(50) ? { UpdateConfig: updateConfig(random, true) } : {};
    this.#change(service, `updates to ${template.ContainerSpec.Image} ${JSON.stringify(config)}`, (spec) => ({
      ...spec,
      ...config,
      TaskTemplate: template,
    }));
  }

  /** A service becomes a single writer, or ceases to be. */
  #toggleWriter(service: ServiceRecord): void {
    if (service.Spec.Mode?.Replicated === undefined) return;
    const { [WRITER]: before = 'not said', ...labels } = service.Spec.Labels ?? {};
    const said = this.#random.pick(['true', 'true', 'false', 'not said'].filter((each) => each !== before));
    this.#change(service, `says that single writer is ${said} of`, (spec) => ({
      ...spec,
      Labels: said === 'not said' ? labels : { ...labels, [WRITER]: said },
    }));
  }

  /** Reads it, and writes it changed, as the command line does. */
  #change(service: ServiceRecord, what: string, make: (spec: ServiceSpec) => ServiceSpec): void {
    const { Name } = service.Spec;
    const change = this.#number();
    this.#ask(`service ${Name}`, change, `${what} ${Name}`, async (control) => {
      const { record, revision } = control.services.inspect(Name);
      await control.services.update(Name, { version: revision, spec: withChange(make(record.Spec), change) });
    });
  }

  #rollBack({ Spec, PreviousSpec }: ServiceRecord): void {
    const before = PreviousSpec?.Labels?.[CHANGE];
    if (before === undefined) return;
    const { Name } = Spec;
    this.#ask(`service ${Name}`, before, `rolls ${Name} back`, async (control) => {
      const { record, revision } = control.services.inspect(Name);
      if (record.PreviousSpec?.Labels?.[CHANGE] !== before)
        throw unavailable('another manager, another view');
      await control.services.update(Name, { version: revision, spec: record.Spec, rollback: true });
    });
  }

  #createSecret(): void {
    const name = `x${++this.#numbers}`;
    const data = Buffer.from(`content of ${name}`).toString('base64');
    this.#ask(`secret ${name}`, 'there', `creates secret ${name}`, async (control) => {
      const id = await control.secrets.create({ spec: { Name: name }, data });
      this.#secrets.set(name, { id, name });
    });
  }

  #removeSecret(): void {
    const [name] = this.#secrets.keys();
    if (name === undefined) return;
    this.#ask(`secret ${name}`, GONE, `removes secret ${name}`, async (control) => {
      await control.secrets.remove(name);
      this.#secrets.delete(name);
    });
  }

  #deployStack(): void {
    const name = this.#random.pick(STACKS);
    const change = this.#number();
    const last = this.#stacks.get(name);
    const isAgain = last !== undefined && this.#random.chance(25);
    const { stack, asked } = isAgain
      ? last
      : { stack: newStack(name, change, this.#random, this.#isCalm), asked: change };
    this.#stacks.set(name, { stack, asked });
    const images = stack.services.map(({ spec }) => spec.TaskTemplate.ContainerSpec.Image);
    this.#ask(`stack ${name}`, asked, `deploys ${name} ${images.join(' ')}`, (control) =>
      control.releases.deploy({ stack, resolveImage: 'never' }),
    );
  }

  /** To any release that differs from the newest. */
  rollBackStack(): void {
    const name = this.#random.pick(STACKS);
    const [newest, ...older] = releasesOf(this.#cluster.truth, name);
    if (newest === undefined || older.length === 0) return;
    const target = this.#random.pick(older);
    if (changeOf(target) === changeOf(newest)) return;
    const { number } = target;
    this.#ask(`stack ${name}`, changeOf(target), `rolls ${name} back to ${number}`, async (control) => {
      // its number may have been given anew, or this manager may not know it yet
      if (changeOf(control.releases.inspect(name, number).record) !== changeOf(target))
        throw unavailable('another manager, another view');
      await control.releases.rollBack(name, number);
    });
  }

  #removeStack(): void {
    this.removeStack(this.#random.pick(STACKS));
  }

  removeStack(name: string): void {
    this.#ask(`stack ${name}`, GONE, `removes the stack ${name}`, (control) => control.releases.remove(name));
  }

  #setNode(): void {
    const { id } = this.#random.pick(this.#cluster.nodes);
    this.#updateNode(id, this.#random.pick(['active', 'active', 'drain', 'pause'] as const));
  }

  /** A worker is promoted, or a manager demoted; the last one is not, as the cluster says. */
  #changeRole(): void {
    const { truth } = this.#cluster;
    const managers = [...truth.all('node')].filter(({ Spec }) => Spec.Role === 'manager').length;
    const { id } = this.#random.pick(this.#cluster.nodes);
    const isManager = truth.get('node', id)?.Spec.Role === 'manager';
    if (!isManager && managers >= MOST_MANAGERS) return;
    const role = isManager ? 'worker' : 'manager';
    this.#ask(`role ${id}`, role, `makes ${id} a ${role}`, async (control) => {
      const { record, revision } = control.nodes.inspect(id);
      await control.nodes.update(id, { version: revision, spec: { ...record.Spec, Role: role } });
    });
  }

  #updateNode(id: string, availability: 'active' | 'drain' | 'pause'): void {
    this.#ask(`node ${id}`, availability, `sets ${id} to ${availability}`, async (control) => {
      const { record, revision } = control.nodes.inspect(id);
      const spec = { ...record.Spec, Availability: availability };
      await control.nodes.update(id, { version: revision, spec });
    });
  }

  /** A worker, a former manager perhaps, is removed by force, its machine leaves some time later, and another one joins. */
  #replaceNode(): void {
    const workers = this.#cluster.nodes.filter(({ manages }) => !manages);
    if (workers.length === 0) return;
    const node = this.#random.pick(workers);
    this.#ask(`node ${node.id}`, GONE, `removes ${node.id}`, async (control) => {
      await control.nodes.remove(node.id, { force: true });
      await this.#cluster.clock.sleep(this.#random.between(0, 15_000), new AbortController().signal);
      this.#cluster.drop(node);
      const joined = this.#cluster.join();
      this.ledger.know(`node ${joined.id}`, 'active');
      this.ledger.know(`role ${joined.id}`, 'worker');
      joined.start();
    });
  }

  /** Somebody runs a container of his own on some machine, or ends one. */
  #handleContainer(): void {
    const { containers } = this.#random.pick(this.#cluster.nodes);
    const [first] = containers.all.values();
    if (first !== undefined && this.#random.chance(40)) {
      containers.end(first.id);
      return;
    }
    const id = (++this.#numbers).toString(16).padStart(64, '0');
    void containers.run(id, { network: OVERLAY, always: this.#random.chance(50) });
  }

  /** Somebody stops or removes a container by hand. */
  #meddle(): void {
    const { nodes } = this.#cluster;
    const running = nodes.flatMap((node) => node.engine.running.map(({ task }) => ({ node, task })));
    if (running.length === 0) return;
    const { node, task } = this.#random.pick(running);
    const how = this.#random.pick(['stop', 'remove'] as const);
    this.#cluster.trace(`somebody ${how}s ${task.id.slice(0, 6)} on ${node.id} by hand`);
    node.engine.meddle(task.id, how);
  }

  #number(): string {
    return String(++this.#numbers);
  }

  #ask(
    key: string,
    value: string,
    what: string,
    request: (control: ClusterControl) => Promise<unknown>,
  ): void {
    const managers = this.#cluster.nodes.flatMap((node) =>
      node.access === undefined ? [] : [{ id: node.id, ...node.access }],
    );
    if (managers.length === 0 || this.ledger.isBusy(key)) return;
    const { id, control, gone } = this.#random.pick(managers);
    this.#cluster.trace(`client, at ${id}: ${what}`);
    this.ledger
      .ask(key, value, async () => {
        try {
          await Promise.race([request(control), connectionLost(gone)]);
          this.#cluster.trace(`client, at ${id}: ${what}: done`);
        } catch (error) {
          this.#cluster.trace(`client, at ${id}: ${what}: ${kindOf(error)}: ${messageOf(error)}`);
          throw error;
        }
      })
      .catch((error: unknown) => this.#cluster.break(`a client was told: ${messageOf(error)}`));
  }
}

function connectionLost(gone: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  gone.addEventListener('abort', () => reject(unavailable('the connection is gone')), { once: true });
  return promise;
}

function withChange(spec: ServiceSpec, change: string): ServiceSpec {
  return { ...spec, Labels: { ...spec.Labels, [CHANGE]: change } };
}

/** The change that is in a service; undefined where an update failed and was undone by the cluster itself. */
function changeIn(service: ServiceRecord | undefined): string | undefined {
  if (service === undefined) return GONE;
  if (service.UpdateStatus?.Message?.startsWith('update rolled back') === true) return undefined;
  return service.UpdateStatus?.State.startsWith('rollback') === true && service.PreviousSpec === undefined
    ? undefined
    : service.Spec.Labels?.[CHANGE];
}
