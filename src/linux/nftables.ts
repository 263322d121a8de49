import koffi from 'koffi';
import { keepDescriptorsFromChildren } from './inherited-descriptors.ts';

const JSON_OUTPUT = 1 << 4;

/** nft's own words about what it refused. */
/** What nft says of a command that it did not do. */
export class NftablesError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'NftablesError';
  }
}

/**
 * libnftables in the process (libnftables-json(5)): what `nft` does without starting it. Bound to the network namespace of
 * the moment it was made in. Synchronous; one `run` is one transaction.
 */
export class Nftables implements Disposable {
  readonly #context: unknown;
  readonly #run: (...args: unknown[]) => unknown;
  readonly #output: (...args: unknown[]) => unknown;
  readonly #error: (...args: unknown[]) => unknown;
  readonly #setFlags: (...args: unknown[]) => unknown;
  readonly #free: (...args: unknown[]) => unknown;

  constructor() {
    const library = koffi.load('libnftables.so.1');
    const create = library.func('void *nft_ctx_new(uint32_t flags)');
    this.#run = library.func('int nft_run_cmd_from_buffer(void *context, const char *commands)');
    this.#output = library.func('const char *nft_ctx_get_output_buffer(void *context)');
    this.#error = library.func('const char *nft_ctx_get_error_buffer(void *context)');
    this.#setFlags = library.func('void nft_ctx_output_set_flags(void *context, unsigned int flags)');
    this.#free = library.func('void nft_ctx_free(void *context)');
    this.#context = create(0);
    // its socket would keep this network namespace as long as whatever is started meanwhile
    keepDescriptorsFromChildren();
    library.func('int nft_ctx_buffer_output(void *context)')(this.#context);
    library.func('int nft_ctx_buffer_error(void *context)')(this.#context);
  }

  /** Runs commands in nft's language: all of them, or none and an NftablesError. */
  run(commands: string): void {
    this.#setFlags(this.#context, 0);
    this.#execute(commands);
  }

  /** Runs one `list …` command; gives the parsed JSON. */
  list(command: string): unknown {
    this.#setFlags(this.#context, JSON_OUTPUT);
    return JSON.parse(this.#execute(command));
  }

  [Symbol.dispose](): void {
    this.#free(this.#context);
  }

  #execute(commands: string): string {
    const status = Number(this.#run(this.#context, commands));
    // Both buffers are emptied by being read.
    const output = String(this.#output(this.#context) ?? '');
    const error = String(this.#error(this.#context) ?? '').trim();
    if (status !== 0) throw new NftablesError(error === '' ? 'nftables refused the change' : error);
    return output;
  }
}

/** Of contexts kept open, each of which is about half a megabyte. */
const MOST_OPEN = 8;

/**
 * Contexts that were used and are to be closed. A close waits for what the last change in its namespace replaced, ten milliseconds; a
 * few changes later there is nothing to wait for. An open one keeps its namespace, with all links in it, from going: who takes a
 * namespace away closes those of its owner first.
 */
export class UsedContexts implements Disposable {
  #contexts: { readonly owner: string; readonly context: Nftables }[] = [];

  add(owner: string, context: Nftables): void {
    this.#contexts.push({ owner, context });
    if (this.#contexts.length > MOST_OPEN) this.#contexts.shift()?.context[Symbol.dispose]();
  }

  close(owner: string): void {
    const theirs = this.#contexts.filter((each) => each.owner === owner);
    this.#contexts = this.#contexts.filter((each) => each.owner !== owner);
    for (const { context } of theirs) context[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const { context } of this.#contexts.splice(0)) context[Symbol.dispose]();
  }
}
