import { randomBytes } from 'node:crypto';
import { NLM_F_CREATE, NLM_F_EXCL } from './link-messages.ts';
import { NetlinkSocket } from './netlink.ts';
import { hasCode, SystemCallError } from './system-call-error.ts';
import {
  type ActualXfrmState,
  AES_GCM_KEY_BYTES,
  newPolicy,
  newState,
  parsePolicy,
  parseState,
  policyKey,
  stateKey,
  XFRM_MSG,
  type XfrmPolicy,
  type XfrmState,
} from './xfrm-messages.ts';

/** IPsec in the kernel of the current network namespace (ip-xfrm(8)). Every call is synchronous. */
export class Xfrm implements Disposable {
  readonly #socket = new NetlinkSocket('xfrm');

  /** Those of ESP in transport mode, whoever made them. */
  states(): ActualXfrmState[] {
    const found = this.#socket.dump('XFRM_MSG_GETSA', XFRM_MSG.getState, Buffer.alloc(0));
    return found.flatMap((body) => parseState(body) ?? []);
  }

  /** Those for UDP ports, whoever made them. */
  policies(): XfrmPolicy[] {
    const found = this.#socket.dump('XFRM_MSG_GETPOLICY', XFRM_MSG.getPolicy, Buffer.alloc(0));
    return found.flatMap((body) => parsePolicy(body) ?? []);
  }

  /** SystemCallError EEXIST where the destination has a state with this SPI. `key`: {@link AES_GCM_KEY_BYTES}. */
  addState(state: XfrmState, key: Uint8Array): void {
    const flags = NLM_F_CREATE | NLM_F_EXCL;
    this.#socket.request('XFRM_MSG_NEWSA', XFRM_MSG.newState, flags, newState(state, key), nameOf(state));
  }

  /** One that is not there is success. */
  removeState(state: Pick<XfrmState, 'source' | 'destination' | 'spi'>): void {
    try {
      this.#socket.request('XFRM_MSG_DELSA', XFRM_MSG.delState, 0, stateKey(state), nameOf(state));
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error;
    }
  }

  /** Makes the policy or replaces the one with the same selector: no packet passes between the two. */
  setPolicy(policy: XfrmPolicy): void {
    this.#socket.request('XFRM_MSG_UPDPOLICY', XFRM_MSG.updatePolicy, 0, newPolicy(policy), policy.direction);
  }

  /** One that is not there is success. */
  removePolicy(policy: XfrmPolicy): void {
    try {
      this.#socket.request('XFRM_MSG_DELPOLICY', XFRM_MSG.delPolicy, 0, policyKey(policy), policy.direction);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/**
 * Why this kernel cannot encrypt by ESP with AES-GCM; undefined where it can. It is asked by making a state that no packet uses,
 * which loads the modules that it takes.
 */
export function espProblem(): string | undefined {
  const trial = { source: '127.0.0.1', destination: '127.0.0.1', reqid: 0, port: 1 };
  const spi = randomBytes(4).readUInt32BE() | 0x100;
  try {
    using xfrm = new Xfrm();
    xfrm.addState({ ...trial, spi: spi >>> 0 }, randomBytes(AES_GCM_KEY_BYTES));
    xfrm.removeState({ ...trial, spi: spi >>> 0 });
    return undefined;
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    if (error.syscall === 'netlink') return `its kernel has no IPsec (xfrm_user: ${error.code})`;
    const isUnknownAlgorithm = ['ENOSYS', 'ENOENT'].includes(error.code);
    return isUnknownAlgorithm
      ? `its kernel has no AES-GCM for IPsec (${error.code})`
      : `its kernel has no ESP (esp4: ${error.code})`;
  }
}

function nameOf({ source, destination, spi }: Pick<XfrmState, 'source' | 'destination' | 'spi'>): string {
  return `${source} → ${destination} spi 0x${spi.toString(16)}`;
}
