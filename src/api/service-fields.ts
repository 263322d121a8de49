import { z } from 'zod';
import { invalid } from '#model/errors.ts';
import { integer } from './request-body.ts';

/** A Go unsigned integer. */
export const count: z.ZodInt = integer.min(0, 'is negative');

/** One of a few words; empty is "not given". `refused` says what is wrong with another one, in Docker's words. */
export function oneOf<const T extends string>(
  values: readonly T[],
  refused: (given: string) => string,
): z.ZodType<T | undefined> {
  return z
    .string()
    .nullish()
    .transform((given): T | undefined => {
      if (given === null || given === undefined || given === '') return undefined;
      const known = values.find((value) => value === given);
      // in these words alone, as clients know them
      if (known === undefined) throw invalid(refused(given));
      return known;
    });
}
