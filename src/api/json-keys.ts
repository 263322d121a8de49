import { z } from 'zod';

/**
 * A JSON value with the keys that `schema` reads in its spelling, whichever case the client writes them in: Docker's own daemon takes
 * any, and clients do send other ones (`Mode: { replicated: … }`). Keys that are data, those of maps, stay as they are; so do unknown
 * ones. Where two differ in case only, the one in the schema's spelling counts.
 */
export function canonicalKeys(schema: z.core.$ZodType, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (schema instanceof z.core.$ZodOptional || schema instanceof z.core.$ZodNullable)
    return canonicalKeys(schema._zod.def.innerType, value);
  if (schema instanceof z.core.$ZodPipe) return canonicalKeys(schema._zod.def.in, value);
  if (schema instanceof z.core.$ZodUnion) {
    return schema._zod.def.options.reduce<unknown>((read, option) => canonicalKeys(option, read), value);
  }
  if (Array.isArray(value)) {
    if (!(schema instanceof z.core.$ZodArray)) return value;
    return value.map((each) => canonicalKeys(schema._zod.def.element, each));
  }
  if (schema instanceof z.core.$ZodRecord) {
    return mapFields(value, (key, field) => [key, canonicalKeys(schema._zod.def.valueType, field)]);
  }
  return schema instanceof z.core.$ZodObject ? withShape(schema._zod.def.shape, value) : value;
}

function withShape(shape: Readonly<Record<string, z.core.$ZodType>>, value: object): unknown {
  const spelling = new Map(Object.keys(shape).map((key) => [key.toLowerCase(), key]));
  return mapFields(value, (key, field) => {
    const known = Object.hasOwn(shape, key) ? key : spelling.get(key.toLowerCase());
    const inner = known === undefined ? undefined : shape[known];
    if (known === undefined || inner === undefined) return [key, field];
    return [known !== key && Object.hasOwn(value, known) ? key : known, canonicalKeys(inner, field)];
  });
}

function mapFields(value: object, map: (key: string, field: unknown) => [string, unknown]): unknown {
  return Object.fromEntries(Object.entries(value).map(([key, field]) => map(key, field)));
}
