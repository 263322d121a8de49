import { z } from 'zod';
import { DroverError, invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { canonicalKeys } from './json-keys.ts';

/** A JSON body larger than this is refused with 413; the largest real ones are a few hundred kilobytes. */
const LIMIT_BYTES = 4 * 1024 * 1024;

/** A body beyond the limit: the one refusal whose status no error kind names. */
export class BodyTooLarge extends DroverError {
  constructor() {
    super('invalid', `request body is larger than ${LIMIT_BYTES} bytes`);
  }
}

/** The body as `schema` reads it. An empty one is `invalid` unless `schema` accepts undefined. */
export async function readBody<T>(call: Call, schema: z.ZodType<T>): Promise<T> {
  const text = await readText(call);
  if (text === '') {
    const empty = schema.safeParse(undefined);
    if (empty.success) return empty.data;
    throw invalid('invalid JSON: got EOF while reading request body');
  }
  checkMediaType(call.request.headers['content-type']);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(`invalid JSON: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  const parsed = schema.safeParse(canonicalKeys(schema, value));
  if (!parsed.success) throw invalid(`invalid request body: ${describe(parsed.error)}`);
  return parsed.data;
}

function checkMediaType(header: string | undefined): void {
  const mediaType = header?.split(';', 1)[0]?.trim().toLowerCase();
  if (mediaType !== 'application/json') {
    throw invalid(`unsupported Content-Type header (${header ?? ''}): must be 'application/json'`);
  }
}

async function readText(call: Call): Promise<string> {
  const length = Number(call.request.headers['content-length'] ?? 0);
  if (length > LIMIT_BYTES) throw new BodyTooLarge();
  const chunks: Buffer[] = [];
  let total = 0;
  // left open after a refusal, so that the client can read it; what it still sends is read and dropped
  for await (const chunk of call.request.iterator({ destroyOnReturn: false })) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    total += bytes.length;
    if (total > LIMIT_BYTES) throw new BodyTooLarge();
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function describe(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const path = issue.path.map(String).join('.');
      const message = issue.message.replace(/^Invalid input: /, '');
      return path === '' ? message : `${path}: ${message}`;
    })
    .join('; ');
}

/** An object's fields without those that are null or absent, which clients of Docker send alike. */
export type Present<T> = { [K in keyof T]?: Exclude<T[K], null | undefined> };

/** Drops null and undefined fields: the rest of the daemon knows only "given" and "not given". */
export function present<T extends object>(value: T): Present<T> {
  const given = Object.entries(value).filter(([, field]) => field !== null && field !== undefined);
  // the same keys and values, less those the type leaves out
  return Object.fromEntries(given) as Present<T>;
}

/** A Go integer. */
export const integer: z.ZodInt = z.int();

/** A list that Docker also reads from one string (Cmd, Entrypoint). */
export const words: z.ZodType<string[]> = z.union([
  z.array(z.string()),
  z.string().transform((word) => [word]),
]);

export const textMap: z.ZodRecord<z.ZodString, z.ZodString> = z.record(z.string(), z.string());
