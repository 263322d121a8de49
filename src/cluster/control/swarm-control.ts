import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import { invalid, notImplemented, unavailable } from '#model/errors.ts';
import type { SwarmRecord, SwarmSpec } from '#model/swarm.ts';
import { outOfSequence } from './control-errors.ts';
import type { ControlPorts, RootFields } from './control-ports.ts';
import type { RecordWriter } from './record-writer.ts';
import { checkSwarmSpec, completeSwarmSpec } from './swarm-spec.ts';

export interface SwarmUpdate {
  readonly version: number;
  readonly spec: SwarmSpec;
  readonly rotateWorkerToken?: boolean;
  readonly rotateManagerToken?: boolean;
  readonly rotateManagerUnlockKey?: boolean;
}

/** The cluster itself as Docker's API asks for it. */
export class SwarmControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
  }

  inspect(): Versioned<SwarmRecord> {
    const { view } = this.#ports.follower;
    const record = swarmOf(view);
    return { record, revision: view.revisionOf('swarm', record.ID) };
  }

  /**
   * Another specification, other tokens, another unlock key or another CA. `invalid` ("update out of sequence") when it is not what the
   * client read.
   */
  async update(request: SwarmUpdate): Promise<void> {
    const before = this.inspect();
    if (before.revision !== request.version) throw outOfSequence();
    const spec = completeSwarmSpec(request.spec, before.record.Spec);
    checkSwarmSpec(spec);
    const authority = await this.#nextAuthority(before.record, spec);
    await this.#writer.write((view) => {
      const swarm = swarmOf(view);
      if (view.revisionOf('swarm', swarm.ID) !== request.version) throw outOfSequence();
      const UpdatedAt = new Date(this.#ports.clock.nowMs()).toISOString();
      const { sealedUnlockKey: current, ...rest } = swarm;
      const sealedUnlockKey = this.#unlockKey(current, spec, request.rotateManagerUnlockKey);
      const put: SwarmRecord = {
        ...{ ...rest, ...authority, Spec: stored(spec), UpdatedAt },
        ...(sealedUnlockKey === undefined ? {} : { sealedUnlockKey }),
      };
      put.joinTokens = this.#tokens(put, request, authority !== undefined);
      return { writes: [{ table: 'swarm', put }], result: undefined };
    });
  }

  /** As in Swarm, there is one while managers are locked, and one that was given up is never used again. */
  #unlockKey(current: string | undefined, spec: SwarmSpec, rotate: boolean | undefined): string | undefined {
    if (spec.EncryptionConfig?.AutoLockManagers !== true) return undefined;
    return current === undefined || rotate === true ? this.#ports.makeUnlockKey() : current;
  }

  /** Those that are not made anew go on for another CA, whose digest they carry. */
  #tokens(swarm: SwarmRecord, request: SwarmUpdate, rebind: boolean): SwarmRecord['joinTokens'] {
    const { joinTokens } = this.#ports;
    const next = (token: string, rotate: boolean | undefined): string => {
      if (rotate === true) return joinTokens.create(swarm.rootCertificate);
      return rebind ? joinTokens.rebind(token, swarm.rootCertificate) : token;
    };
    return {
      Worker: next(swarm.joinTokens.Worker, request.rotateWorkerToken),
      Manager: next(swarm.joinTokens.Manager, request.rotateManagerToken),
    };
  }

  async #nextAuthority(swarm: SwarmRecord, spec: SwarmSpec): Promise<RootFields | undefined> {
    const { SigningCACert: certificate = '', SigningCAKey: key = '', ForceRotate = 0 } = spec.CAConfig ?? {};
    const forced = ForceRotate !== (swarm.Spec.CAConfig?.ForceRotate ?? 0);
    const given = certificate !== '' && certificate.trim() !== swarm.rootCertificate.trim();
    if (!forced && !given) return undefined;
    if (given && key === '') throw invalid('a CA certificate needs its key, for external CAs are not there');
    if (this.#ports.rootRotation === undefined) throw notImplemented('replacing the CA is not there yet');
    return await this.#ports.rootRotation.rotate(swarm, given ? { certificate, key } : undefined);
  }
}

/** The signing key is taken, never kept in the clear and never given back. */
function stored(spec: SwarmSpec): SwarmSpec {
  if (spec.CAConfig === undefined) return spec;
  const { SigningCAKey: _key, SigningCACert: _certificate, ...CAConfig } = spec.CAConfig;
  return { ...spec, CAConfig };
}

function swarmOf(view: ClusterView): SwarmRecord {
  const [swarm] = view.all('swarm');
  if (swarm === undefined) throw unavailable('this manager does not know the cluster yet');
  return swarm;
}
