import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import { invalid, notImplemented, unavailable } from '#model/errors.ts';
import type { SwarmRecord, SwarmSpec } from '#model/swarm.ts';
import { outOfSequence } from './control-errors.ts';
import type { ControlPorts, RootFields } from './control-ports.ts';
import { checkedExternals, externalUrlsOf, writtenAlike } from './external-authorities.ts';
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
    const asked = completeSwarmSpec(request.spec, before.record.Spec);
    checkSwarmSpec(asked);
    const { spec, authority } = await this.#nextAuthority(before.record, asked);
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

  /** What signs from here on, tried once where it is new and not the cluster's own; `authority` is undefined where the root stays. */
  async #nextAuthority(
    swarm: SwarmRecord,
    asked: SwarmSpec,
  ): Promise<{ spec: SwarmSpec; authority: RootFields | undefined }> {
    const { SigningCACert = '', SigningCAKey = '', ForceRotate = 0, ExternalCAs } = asked.CAConfig ?? {};
    const given = SigningCACert === '' ? swarm.rootCertificate : writtenAlike(SigningCACert);
    const isOther = given !== swarm.rootCertificate;
    const isForced = ForceRotate !== (swarm.Spec.CAConfig?.ForceRotate ?? 0);
    const externals = ExternalCAs === undefined ? undefined : checkedExternals(ExternalCAs, given);
    const spec =
      externals === undefined ? asked : { ...asked, CAConfig: { ...asked.CAConfig, ExternalCAs: externals } };
    const urls = externalUrlsOf(spec, given);
    if (isOther && SigningCAKey === '' && urls.length === 0)
      throw invalid('a CA certificate needs its key, or an external CA that signs with it (--external-ca)');
    const { rootRotation } = this.#ports;
    const isNew = urls.some((url) => !externalUrlsOf(swarm.Spec, given).includes(url));
    if (!isOther && !isForced && !isNew) return { spec, authority: undefined };
    if (rootRotation === undefined) throw notImplemented('replacing the CA is not there yet');
    if (isNew) await rootRotation.tryExternal(swarm, given, urls);
    if (!isOther && !isForced) return { spec, authority: undefined };
    const key = SigningCAKey === '' ? undefined : SigningCAKey;
    const authority = await rootRotation.rotate(
      swarm,
      isOther ? { certificate: SigningCACert, key } : undefined,
    );
    return { spec, authority };
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
