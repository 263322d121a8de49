import type { CertificateAnswer } from '#cluster/ca/join-protocol.ts';
import { removeKeyFile, writeKeyFile } from '#cluster/ca/key-file.ts';
import { parseUnlockKey, type SealingKey, unsealKey } from '#cluster/ca/sealing.ts';
import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { DroverError, invalid, kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { SwarmRecord } from '#model/swarm.ts';

const RETRY_MS = 5000;

/** What managers' disks are sealed with now; undefined while the swarm is not locked. */
export function unlockKeyOf(swarm: SwarmRecord, managerKey: SealingKey): SealingKey | undefined {
  const { sealedUnlockKey } = swarm;
  return sealedUnlockKey === undefined ? undefined : unsealKey(sealedUnlockKey, [managerKey]);
}

export interface ManagerKeys {
  readonly key: SealingKey;
  /** What the key is to be sealed with on the disk. */
  readonly unlockKey: SealingKey | undefined;
}

/** What a manager gave with a certificate; undefined for a worker. `invalid` where a manager got a certificate alone. */
export function keysOf({
  role,
  managerKey,
  unlockKey,
}: Pick<CertificateAnswer, 'role' | 'managerKey' | 'unlockKey'>): ManagerKeys | undefined {
  if (role === 'worker') return undefined;
  if (managerKey === undefined) throw invalid("the manager did not give the managers' key to a manager");
  return {
    key: parseUnlockKey(managerKey),
    unlockKey: unlockKey === undefined ? undefined : parseUnlockKey(unlockKey),
  };
}

/** The managers' key, sealed on this node's disk with the unlock key that somebody gives; `unauthorized`, in Docker's words, for another one. */
export function openManagerKey(sealed: string, unlockKey: string): SealingKey {
  try {
    return unsealKey(sealed, [parseUnlockKey(unlockKey)]);
  } catch (cause) {
    const kind = kindOf(cause);
    if (kind !== 'invalid' && kind !== 'forbidden') throw cause;
    throw new DroverError('unauthorized', 'swarm could not be unlocked: invalid key provided', { cause });
  }
}

/**
 * The managers' key on one node: in memory, and on its disk as the cluster wants it there. What is on the disk follows the last word; a
 * disk that refuses is tried again until `signal` aborts.
 */
export class ManagerKey {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #report: (message: string, details: object) => void;
  readonly #signal: AbortSignal;
  #key: SealingKey | undefined;
  /** Which change of the file is the last one. */
  #turn = 0;

  /** `key` is undefined on a worker. */
  constructor(o: {
    path: string;
    key: SealingKey | undefined;
    clock: Clock;
    report: (message: string, details: object) => void;
    signal: AbortSignal;
  }) {
    this.#path = o.path;
    this.#clock = o.clock;
    this.#report = o.report;
    this.#signal = o.signal;
    this.#key = o.key;
  }

  /** Undefined where it is not here. */
  get known(): SealingKey | undefined {
    return this.#key;
  }

  /** `unavailable` where it is not here. */
  get key(): SealingKey {
    if (this.#key === undefined) throw unavailable("the managers' key is not on this node");
    return this.#key;
  }

  /** Another manager gave it, and says what it is to be sealed with. Throws where it cannot be kept. */
  take({ key, unlockKey }: ManagerKeys): void {
    writeKeyFile(this.#path, key, unlockKey);
    this.#turn++;
    this.#key = key;
  }

  /** From here on a start of this manager asks for this unlock key, or for none. */
  lockWith(unlockKey: SealingKey | undefined): void {
    const turn = ++this.#turn;
    void this.#write(unlockKey, () => turn === this.#turn);
  }

  /** This node is no manager any more. */
  forget(): void {
    this.#turn++;
    removeKeyFile(this.#path);
    this.#key = undefined;
  }

  async #write(unlockKey: SealingKey | undefined, isLast: () => boolean): Promise<void> {
    while (isLast()) {
      try {
        writeKeyFile(this.#path, this.key, unlockKey);
        return;
      } catch (error) {
        this.#report("the managers' key on disk does not follow the swarm yet", { error: messageOf(error) });
      }
      if (!(await pause(this.#clock, RETRY_MS, this.#signal))) return;
    }
  }
}
