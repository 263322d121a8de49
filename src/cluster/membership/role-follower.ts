import type { Clock } from '#control/clock.ts';
import { messageOf } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import type { ManagerKey } from './manager-key.ts';
import type { Managing } from './managing.ts';
import type { NodeCertificate } from './node-certificate.ts';

const RETRY_MS = 2000;

export interface RoleFollowerOptions {
  /** By the node's certificate. */
  readonly role: NodeRole;
  readonly certificate: NodeCertificate;
  readonly managerKey: ManagerKey;
  readonly managing: Managing;
  /** Runs changes of this node's identity one after the other. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  readonly clock: Clock;
  readonly report: (message: string, details: object) => void;
  readonly signal: AbortSignal;
}

/** Makes a node what its cluster says it is to be: a worker or a manager, with the certificate of one. */
export class RoleFollower {
  readonly #o: RoleFollowerOptions;
  /** Undefined until the leader has said what this node is to be. */
  #asked: NodeRole | undefined;

  constructor(o: RoleFollowerOptions) {
    this.#o = o;
    this.#asked = o.role;
  }

  /** As the certificate says; undefined once that counts no more, until the leader has said it. */
  get asked(): NodeRole | undefined {
    return this.#asked;
  }

  /** What the certificate says counts no more. */
  waitForLeader(): void {
    this.#asked = undefined;
  }

  /** The leader says it. */
  told(role: NodeRole): void {
    if (role === this.#asked) return;
    this.#asked = role;
    this.follow(role).catch((error: unknown) =>
      this.#o.report('the change of role failed', { role, error: messageOf(error) }),
    );
  }

  /** Becomes what the cluster says, and tries until it is, or the cluster says something else. */
  async follow(role: NodeRole): Promise<void> {
    const { signal, inTurn, clock, report } = this.#o;
    while (!signal.aborted && this.#asked === role) {
      try {
        await inTurn(() => this.#become(role));
        return;
      } catch (error) {
        report('the change of role did not succeed yet', { role, error: messageOf(error) });
        await clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  async #become(role: NodeRole): Promise<void> {
    if (this.#asked !== role) return;
    const { certificate, managerKey, managing, signal } = this.#o;
    // the key comes with the certificate; one that is locked in on the disk of a node that never managed is asked for again
    const lacksKey = role === 'manager' && managerKey.known === undefined;
    if (certificate.role !== role || lacksKey) await certificate.renew(role, signal);
    if (role === 'manager' && managing.parts === undefined) await managing.begin();
    if (role === 'worker' && managing.isManager) await managing.end();
  }
}
