import { conflict, type DroverError, forbidden, invalid, notFound, unavailable } from '#model/errors.ts';
import { type Json, numberIn, objectIn, textIn } from './json-object.ts';
import type { Change, Entry, Transaction } from './store.ts';

/** Of the store, when it answered. */
export function revisionIn(answer: Json): number {
  return numberIn(objectIn(answer, 'header'), 'revision');
}

/** The keys of etcd and ours: all of ours lie under one prefix of its. */
export class EtcdKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  encoded(key: string): string {
    return base64(this.#prefix + key);
  }

  /** What is below a prefix, from its first key or from the one after `after`. */
  range(prefix: string, after?: string): { key: string; range_end: string } {
    const whole = this.#prefix + prefix;
    const first = after === undefined ? whole || '\0' : `${this.#prefix}${after}\0`;
    return { key: base64(first), range_end: base64(firstBeyond(whole)) };
  }

  entry(kv: Json): Entry {
    const lease = textIn(kv, 'lease');
    return {
      key: this.#own(kv),
      value: Buffer.from(textIn(kv, 'value'), 'base64').toString(),
      revision: numberIn(kv, 'mod_revision'),
      ...(lease === '' ? {} : { lease }),
    };
  }

  change(event: Json): Change {
    const kv = objectIn(event, 'kv');
    if (textIn(event, 'type') !== 'DELETE') return { kind: 'put', entry: this.entry(kv) };
    return { kind: 'delete', key: this.#own(kv), revision: numberIn(kv, 'mod_revision') };
  }

  transaction({ checks, puts, deletes }: Transaction): Json {
    return {
      compare: checks.map(({ key, revision }) => ({
        ...{ key: this.encoded(key), target: 'MOD', result: 'EQUAL', mod_revision: String(revision) },
      })),
      success: [
        ...puts.map(({ key, value, lease }) => ({
          request_put: {
            ...{ key: this.encoded(key), value: base64(value) },
            ...(lease === undefined ? {} : { lease }),
          },
        })),
        ...deletes.map((key) => ({ request_delete_range: { key: this.encoded(key) } })),
      ],
    };
  }

  #own(kv: Json): string {
    return Buffer.from(textIn(kv, 'key'), 'base64').toString().slice(this.#prefix.length);
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** The first key that is after all keys with a prefix; `\0` is etcd's word for "to the end". */
function firstBeyond(prefix: string): string {
  if (prefix === '') return '\0';
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** gRPC's codes, as far as they mean something of their own to us. */
const CODES = { invalidArgument: 3, notFound: 5, permissionDenied: 7, failedPrecondition: 9, outOfRange: 11 };

/** The error of an answer that is one: by gRPC's code, with etcd's words. */
export function failureOf(endpoint: string, answer: Json): DroverError {
  const code = numberIn(answer, 'code') || numberIn(answer, 'grpc_code');
  const words = textIn(answer, 'message') || textIn(answer, 'error') || JSON.stringify(answer);
  const message = `etcd at ${endpoint}: ${words}`;
  switch (code) {
    case CODES.invalidArgument:
      return invalid(message);
    case CODES.notFound:
      return notFound(message);
    case CODES.permissionDenied:
      return forbidden(message);
    case CODES.failedPrecondition:
    case CODES.outOfRange:
      return conflict(message);
    default:
      return unavailable(message);
  }
}
