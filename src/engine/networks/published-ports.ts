import type { Logger } from 'pino';
import type { Nftables } from '#linux/nftables.ts';
import { type PortReservation, reservePort } from '#linux/port-reservation.ts';
import { hasCode } from '#linux/system-call-error.ts';
import type { ContainerRecord, PortBinding } from '#model/container.ts';
import { messageOf, unavailable } from '#model/errors.ts';
import { type WantedPort, wantedPorts } from './port-publishing.ts';
import { addPort, type PublishedPort, removePort } from './ruleset.ts';

/** The host's ports that lead to containers: an element of a map in the kernel each, and a bound socket of ours. */
export class PublishedPorts implements Disposable {
  readonly #table: string;
  readonly #nftables: Nftables;
  readonly #log: Logger;
  readonly #byContainer = new Map<
    string,
    { port: PublishedPort; reservation: PortReservation | undefined }[]
  >();

  constructor(o: { table: string; nftables: Nftables; log: Logger }) {
    this.#table = o.table;
    this.#nftables = o.nftables;
    this.#log = o.log;
  }

  list(): PublishedPort[] {
    return [...this.#byContainer.values()].flat().map(({ port }) => port);
  }

  /** Reserves and opens all of a container's ports, or none. */
  open(
    container: ContainerRecord,
    o: { address: string; defaultHostAddress: string },
  ): Record<string, PortBinding[]> {
    const { address } = o;
    const wanted = wantedPorts(container.config, container.hostConfig, o.defaultHostAddress);
    const ports: Record<string, PortBinding[]> = {};
    for (const key of Object.keys(container.config.ExposedPorts ?? {})) ports[key] ??= [];
    const placed: { port: PublishedPort; reservation: PortReservation }[] = [];
    this.#byContainer.set(container.id, placed);
    for (const want of wanted) {
      const reservation = reserve(want, container.name, container.id);
      const port: PublishedPort = {
        protocol: want.protocol,
        hostIp: want.hostIp,
        hostPort: reservation.port,
        address,
        port: want.containerPort,
      };
      placed.push({ port, reservation });
      ports[want.key] = [
        ...(ports[want.key] ?? []),
        { HostIp: want.hostIp, HostPort: String(reservation.port) },
      ];
    }
    if (placed.length > 0) this.#nftables.run(placed.map(({ port }) => addPort(this.#table, port)).join(''));
    return ports;
  }

  /** Closes a container's ports, or those that lead to one of its addresses. Safe to repeat. */
  close(containerId: string, address?: string): void {
    const placed = this.#byContainer.get(containerId) ?? [];
    const gone = placed.filter(({ port }) => address === undefined || port.address === address);
    const kept = placed.filter((each) => !gone.includes(each));
    if (kept.length === 0) this.#byContainer.delete(containerId);
    else this.#byContainer.set(containerId, kept);
    for (const { port, reservation } of gone) {
      try {
        this.#nftables.run(removePort(this.#table, port));
      } catch (error) {
        // The element is missing when opening the ports failed half-way.
        this.#log.debug({ error: messageOf(error) }, 'port was not open');
      }
      reservation?.[Symbol.dispose]();
    }
  }

  /** The ports of a container that ran on while no daemon did; `wayOut` where they lead to no network that it shows. */
  adopt(container: ContainerRecord, wayOut?: string): void {
    const placed: { port: PublishedPort; reservation: PortReservation | undefined }[] = [];
    for (const [key, bindings] of Object.entries(container.ports)) {
      const [port = '', protocol = 'tcp'] = key.split('/');
      const address =
        wayOut ?? Object.values(container.networks).find(({ Gateway }) => Gateway !== '')?.IPAddress;
      if (address === undefined || (protocol !== 'tcp' && protocol !== 'udp')) continue;
      for (const { HostIp, HostPort } of bindings) {
        const hostPort = Number(HostPort);
        const published = { protocol, hostIp: HostIp, hostPort, address, port: Number(port) } as const;
        placed.push({ port: published, reservation: this.#reserveAgain(published) });
      }
    }
    if (placed.length > 0) this.#byContainer.set(container.id, placed);
  }

  #reserveAgain(port: PublishedPort): PortReservation | undefined {
    try {
      return reservePort({ address: port.hostIp, port: port.hostPort, protocol: port.protocol });
    } catch (error) {
      this.#log.warn(
        { port: port.hostPort, error: messageOf(error) },
        'another program has bound a published port',
      );
      return undefined;
    }
  }

  /** Gives the sockets back; what is in the kernel stays and goes on working. */
  [Symbol.dispose](): void {
    for (const { reservation } of [...this.#byContainer.values()].flat()) reservation?.[Symbol.dispose]();
    this.#byContainer.clear();
  }
}

/** Tries the ports of a range in turn. */
function reserve(want: WantedPort, name: string, id: string): PortReservation {
  const prefix = `driver failed programming external connectivity on endpoint ${name} (${id})`;
  for (let port = want.first; ; port++) {
    try {
      return reservePort({ address: want.hostIp, port, protocol: want.protocol });
    } catch (error) {
      if (hasCode(error, 'EADDRINUSE') && port < want.last) continue;
      const place = `${want.hostIp}:${port}`;
      if (hasCode(error, 'EADDRINUSE'))
        throw unavailable(`${prefix}: Bind for ${place} failed: port is already allocated`, { cause: error });
      throw unavailable(
        `${prefix}: failed to bind host port for ${place}/${want.protocol}: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}
