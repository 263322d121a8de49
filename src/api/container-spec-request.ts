import { z } from 'zod';
import { invalid, notImplemented } from '#model/errors.ts';
import type {
  ConfigReference,
  ContainerSpec,
  FileTarget,
  Privileges,
  SecretReference,
  TaskMount,
} from '#model/task-spec.ts';
import { health } from './container-request.ts';
import { mountFields } from './mount-fields.ts';
import { integer, present, textMap } from './request-body.ts';
import { count, oneOf } from './service-fields.ts';

const list = z.array(z.string());

const MOUNT_TYPES = ['bind', 'volume', 'tmpfs', 'image', 'npipe', 'cluster'] as const;

const mount = z
  .object({
    Type: oneOf(MOUNT_TYPES, (given) => `invalid MountType: "${given}"`),
  })
  .and(mountFields)
  // Docker's own order of mount types makes bind the one that is meant without a word
  .transform(
    ({ Type, Target, ...rest }): TaskMount => ({
      Type: Type ?? 'bind',
      Target: Target ?? '',
      ...present(rest),
    }),
  );

const fileTarget = z
  .object({
    Name: z.string().nullish(),
    UID: z.string().nullish(),
    GID: z.string().nullish(),
    Mode: count.nullish(),
  })
  .transform(
    ({ Name, UID, GID, Mode }): FileTarget => ({
      Name: Name ?? '',
      UID: UID ?? '0',
      GID: GID ?? '0',
      Mode: Mode ?? 0o444,
    }),
  );

const secretReference = z
  .object({
    File: fileTarget.nullish(),
    SecretID: z.string().nullish(),
    SecretName: z.string().nullish(),
  })
  .transform(
    ({ File, SecretID, SecretName }): SecretReference => ({
      ...present({ File }),
      SecretID: SecretID ?? '',
      SecretName: SecretName ?? '',
    }),
  );

const configReference = z
  .object({
    File: fileTarget.nullish(),
    Runtime: z.object({}).nullish(),
    ConfigID: z.string().nullish(),
    ConfigName: z.string().nullish(),
  })
  .transform(({ File, Runtime, ConfigID, ConfigName }): ConfigReference => {
    if (File === null || File === undefined) {
      if (Runtime === null || Runtime === undefined)
        throw invalid('invalid Config: either File or Runtime should be set');
      throw notImplemented('Configs.Runtime is for credential specs of Windows: set File');
    }
    return { File, ConfigID: ConfigID ?? '', ConfigName: ConfigName ?? '' };
  });

const credentialSpec = z.object({
  Config: z.string().nullish(),
  File: z.string().nullish(),
  Registry: z.string().nullish(),
});

const privileges = z
  .object({
    CredentialSpec: credentialSpec.nullish(),
    SELinuxContext: z
      .object({
        Disable: z.boolean().nullish(),
        User: z.string().nullish(),
        Role: z.string().nullish(),
        Type: z.string().nullish(),
        Level: z.string().nullish(),
      })
      .nullish(),
    Seccomp: z
      .object({
        Mode: oneOf(
          ['default', 'unconfined', 'custom'],
          (given) => `unrecognized seccomp mode: ${JSON.stringify(given)}`,
        ),
        Profile: z.string().nullish(),
      })
      .transform(present)
      .nullish(),
    AppArmor: z
      .object({
        Mode: oneOf(
          ['default', 'disabled'],
          (given) => `unrecognized AppArmor mode: ${JSON.stringify(given)}`,
        ),
      })
      .transform(present)
      .nullish(),
    NoNewPrivileges: z.boolean().nullish(),
  })
  .transform(({ CredentialSpec, SELinuxContext, ...rest }): Privileges => {
    if (Object.values(CredentialSpec ?? {}).some(Boolean))
      throw notImplemented('Privileges.CredentialSpec is of Windows: leave it out');
    const { Disable, ...labels } = SELinuxContext ?? {};
    if (Object.values(labels).some(Boolean))
      throw notImplemented('Privileges.SELinuxContext is not there yet: leave it out, or disable it');
    const off = Disable === true ? { SELinuxContext: { Disable } } : {};
    return { ...off, ...present(rest) };
  });

const ulimit = z
  .object({ Name: z.string(), Soft: integer.nullish(), Hard: integer.nullish() })
  .transform(({ Name, Soft, Hard }) => ({ Name, Soft: Soft ?? 0, Hard: Hard ?? 0 }));

/** A container of a task as clients send it; null is "not given". What is of Windows is refused by name. */
export const containerSpecSchema: z.ZodType<ContainerSpec> = z
  .object({
    Image: z.string().nullish(),
    Labels: textMap.nullish(),
    Command: list.nullish(),
    Args: list.nullish(),
    Hostname: z.string().nullish(),
    Env: list.nullish(),
    Dir: z.string().nullish(),
    User: z.string().nullish(),
    Groups: list.nullish(),
    Privileges: privileges.nullish(),
    TTY: z.boolean().nullish(),
    OpenStdin: z.boolean().nullish(),
    ReadOnly: z.boolean().nullish(),
    Mounts: z.array(mount).nullish(),
    StopSignal: z.string().nullish(),
    StopGracePeriod: integer.nullish(),
    // the description of the API says one, Docker's own client the other
    Healthcheck: health.nullish(),
    HealthCheck: health.nullish(),
    Hosts: list.nullish(),
    DNSConfig: z
      .object({ Nameservers: list.nullish(), Search: list.nullish(), Options: list.nullish() })
      .transform(present)
      .nullish(),
    Secrets: z.array(secretReference).nullish(),
    OomScoreAdj: integer.nullish(),
    Configs: z.array(configReference).nullish(),
    Isolation: oneOf(['default', 'process', 'hyperv'], (given) => `invalid isolation: "${given}"`),
    Init: z.boolean().nullish(),
    Sysctls: textMap.nullish(),
    CapabilityAdd: list.nullish(),
    CapabilityDrop: list.nullish(),
    Ulimits: z.array(ulimit).nullish(),
  })
  .transform(({ Image, Healthcheck, HealthCheck, Isolation, ...rest }): ContainerSpec => {
    if (Isolation === 'process' || Isolation === 'hyperv')
      throw notImplemented(`Isolation "${Isolation}" is of Windows: leave it out`);
    const probe = Healthcheck ?? HealthCheck;
    return { Image: Image ?? '', ...present({ ...rest, Isolation, Healthcheck: probe }) };
  });
