import { z } from 'zod';
import type { SwarmInitRequest, SwarmJoinRequest } from '#cluster/control/swarm-membership.ts';
import type { SwarmSpec } from '#model/swarm.ts';
import { present, textMap } from './request-body.ts';
import { count, oneOf } from './service-fields.ts';

const logDriver = z.object({ Name: z.string().nullish(), Options: textMap.nullish() }).transform(present);

const externalAuthority = z
  .object({
    Protocol: z.string().nullish(),
    URL: z.string().nullish(),
    Options: textMap.nullish(),
    CACert: z.string().nullish(),
  })
  .transform(present);

/** A swarm's settings as init and update send them; null is "not given". */
export const swarmSpecSchema: z.ZodType<Partial<SwarmSpec>> = z
  .object({
    Name: z.string().nullish(),
    Labels: textMap.nullish(),
    Orchestration: z.object({ TaskHistoryRetentionLimit: count.nullish() }).transform(present).nullish(),
    Raft: z
      .object({
        SnapshotInterval: count.nullish(),
        KeepOldSnapshots: count.nullish(),
        LogEntriesForSlowFollowers: count.nullish(),
        ElectionTick: count.nullish(),
        HeartbeatTick: count.nullish(),
      })
      .transform(present)
      .nullish(),
    Dispatcher: z.object({ HeartbeatPeriod: z.int().nullish() }).transform(present).nullish(),
    CAConfig: z
      .object({
        NodeCertExpiry: z.int().nullish(),
        ExternalCAs: z.array(externalAuthority).nullish(),
        SigningCACert: z.string().nullish(),
        SigningCAKey: z.string().nullish(),
        ForceRotate: count.nullish(),
      })
      .transform(present)
      .nullish(),
    EncryptionConfig: z.object({ AutoLockManagers: z.boolean().nullish() }).transform(present).nullish(),
    TaskDefaults: z.object({ LogDriver: logDriver.nullish() }).transform(present).nullish(),
  })
  .transform(present);

const addresses = {
  ListenAddr: z.string().nullish(),
  AdvertiseAddr: z.string().nullish(),
  DataPathAddr: z.string().nullish(),
  Availability: oneOf(['active', 'pause', 'drain'], (given) => `invalid Availability: "${given}"`),
};

/** The body of `POST /swarm/init`. */
export const initSchema: z.ZodType<SwarmInitRequest> = z
  .object({
    ...addresses,
    DataPathPort: count.nullish(),
    DefaultAddrPool: z.array(z.string()).nullish(),
    SubnetSize: count.nullish(),
    ForceNewCluster: z.boolean().nullish(),
    Spec: swarmSpecSchema.nullish(),
    AutoLockManagers: z.boolean().nullish(),
  })
  .transform(
    (body): SwarmInitRequest => ({
      ...addressesOf(body),
      dataPathPort: body.DataPathPort ?? 0,
      defaultAddrPool: body.DefaultAddrPool ?? [],
      subnetSize: body.SubnetSize ?? 0,
      forceNewCluster: body.ForceNewCluster ?? false,
      spec: lockedSpec(body.Spec ?? {}, body.AutoLockManagers ?? false),
    }),
  );

/** The body of `POST /swarm/join`. */
export const joinSchema: z.ZodType<SwarmJoinRequest> = z
  .object({
    ...addresses,
    RemoteAddrs: z.array(z.string()).nullish(),
    JoinToken: z.string().nullish(),
  })
  .transform(
    (body): SwarmJoinRequest => ({
      ...addressesOf(body),
      remoteAddresses: body.RemoteAddrs ?? [],
      joinToken: body.JoinToken ?? '',
    }),
  );

function addressesOf(body: {
  ListenAddr?: string | null | undefined;
  AdvertiseAddr?: string | null | undefined;
  DataPathAddr?: string | null | undefined;
  Availability?: SwarmInitRequest['availability'] | undefined;
}): Pick<SwarmInitRequest, 'listenAddress' | 'advertiseAddress' | 'dataPathAddress' | 'availability'> {
  return {
    listenAddress: body.ListenAddr ?? '',
    advertiseAddress: body.AdvertiseAddr ?? '',
    dataPathAddress: body.DataPathAddr ?? '',
    availability: body.Availability ?? 'active',
  };
}

function lockedSpec(spec: Partial<SwarmSpec>, lock: boolean): Partial<SwarmSpec> {
  return lock ? { ...spec, EncryptionConfig: { AutoLockManagers: true } } : spec;
}
