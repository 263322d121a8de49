import { z } from 'zod';
import type { MountSpec } from '#model/container.ts';
import { integer, present, textMap } from './request-body.ts';

export interface MountFields {
  Source?: string | null | undefined;
  Target?: string | null | undefined;
  ReadOnly?: boolean | null | undefined;
  Consistency?: string | null | undefined;
  BindOptions?: MountSpec['BindOptions'] | null;
  VolumeOptions?: MountSpec['VolumeOptions'] | null;
  TmpfsOptions?: MountSpec['TmpfsOptions'] | null;
}

/** What a mount says beside its type, in a container's request as in a service's. */
export const mountFields: z.ZodType<MountFields> = z.object({
  Source: z.string().nullish(),
  Target: z.string().nullish(),
  ReadOnly: z.boolean().nullish(),
  Consistency: z.string().nullish(),
  BindOptions: z
    .object({
      Propagation: z.string().nullish(),
      NonRecursive: z.boolean().nullish(),
      CreateMountpoint: z.boolean().nullish(),
      ReadOnlyNonRecursive: z.boolean().nullish(),
      ReadOnlyForceRecursive: z.boolean().nullish(),
    })
    .transform(present)
    .nullish(),
  VolumeOptions: z
    .object({
      NoCopy: z.boolean().nullish(),
      Labels: textMap.nullish(),
      Subpath: z.string().nullish(),
      DriverConfig: z
        .object({ Name: z.string().nullish(), Options: textMap.nullish() })
        .transform(present)
        .nullish(),
    })
    .transform(present)
    .nullish(),
  TmpfsOptions: z
    .object({ SizeBytes: integer.nullish(), Mode: integer.nullish() })
    .transform(present)
    .nullish(),
});
