import { addressBytes, formatAddress } from './link-messages.ts';
import { attribute, attributeText, parseAttributes } from './netlink.ts';

/** Message types of NETLINK_XFRM (linux/xfrm.h). */
export const XFRM_MSG = {
  newState: 0x10,
  delState: 0x11,
  getState: 0x12,
  delPolicy: 0x14,
  getPolicy: 0x15,
  updatePolicy: 0x19,
} as const;

const XFRMA = { template: 5, aead: 18, replayEsn: 23 };
const AF_INET = 2;
const IPPROTO_UDP = 17;
const IPPROTO_ESP = 50;
const MODE_TRANSPORT = 0;
/** The sequence number has 64 bits (RFC 4303, appendix A). */
const STATE_ESN = 128;
const DIRECTIONS = ['in', 'out'] as const;
const ACTIONS = ['allow', 'block'] as const;
const ICV_BITS = 128;
/** Packets that may come late; a multiple of 32. */
const REPLAY_WINDOW = 512;
const SELECTOR = 56;
const STATE = 224;
const POLICY = 168;
const TEMPLATE = 64;
const ALGORITHM_NAME = 64;

/** AES-GCM as ESP uses it (RFC 4106): 32 bytes of key, 4 of salt. */
export const AES_GCM = 'rfc4106(gcm(aes))';
export const AES_GCM_KEY_BYTES = 36;

/** A security association of ESP in transport mode for one UDP port, in one direction. IPv4. */
export interface XfrmState {
  readonly source: string;
  readonly destination: string;
  /** 256 to 2³² - 1. */
  readonly spi: number;
  /** Whose it is: policies ask for it. */
  readonly reqid: number;
  /** UDP. */
  readonly port: number;
}

/** One as the kernel has it. */
export interface ActualXfrmState extends XfrmState {
  /** Packets sent so far. */
  readonly sent: number;
}

/** What is to be done with packets to a UDP port: `block` drops them, `allow` wants them in ESP and drops others. IPv4. */
export interface XfrmPolicy {
  readonly direction: 'in' | 'out';
  readonly action: 'allow' | 'block';
  /** Empty is every address. */
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** The lowest is asked first. */
  readonly priority: number;
  /** Of the states that may be used; 0 where it blocks. */
  readonly reqid: number;
  /** The one state to send with; 0 for any. */
  readonly spi: number;
}

/** The message that makes a state. `key` has {@link AES_GCM_KEY_BYTES}. */
export function newState(state: XfrmState, key: Uint8Array): Buffer {
  const info = Buffer.alloc(STATE);
  selectorOf(state).copy(info, 0);
  stateId(state).copy(info, 56, 0, 21);
  addressBytes(state.source).copy(info, 80);
  writeNoLimits(info, 96);
  info.writeUInt32LE(state.reqid, 208);
  info.writeUInt16LE(AF_INET, 212);
  info[214] = MODE_TRANSPORT;
  info[216] = STATE_ESN;
  const algorithm = Buffer.alloc(ALGORITHM_NAME + 8);
  algorithm.write(AES_GCM);
  algorithm.writeUInt32LE(key.length * 8, ALGORITHM_NAME);
  algorithm.writeUInt32LE(ICV_BITS, ALGORITHM_NAME + 4);
  const replay = Buffer.alloc(24 + REPLAY_WINDOW / 8);
  replay.writeUInt32LE(REPLAY_WINDOW / 32, 0);
  replay.writeUInt32LE(REPLAY_WINDOW, 20);
  return Buffer.concat([
    info,
    attribute(XFRMA.aead, Buffer.concat([algorithm, key])),
    attribute(XFRMA.replayEsn, replay),
  ]);
}

/** What a state is found by: struct xfrm_usersa_id. */
export function stateKey({ destination, spi }: Pick<XfrmState, 'destination' | 'spi'>): Buffer {
  const id = Buffer.alloc(24);
  addressBytes(destination).copy(id, 0);
  id.writeUInt32BE(spi, 16);
  id.writeUInt16LE(AF_INET, 20);
  id[22] = IPPROTO_ESP;
  return id;
}

/** Undefined for one that is no ESP in transport mode over IPv4: somebody else's. */
export function parseState(body: Buffer): ActualXfrmState | undefined {
  if (body.length < STATE || body.readUInt16LE(212) !== AF_INET) return undefined;
  if (body[76] !== IPPROTO_ESP || body[214] !== MODE_TRANSPORT) return undefined;
  const replay = parseAttributes(body, STATE).get(XFRMA.replayEsn);
  return {
    source: formatAddress(body.subarray(80, 84)),
    destination: formatAddress(body.subarray(56, 60)),
    spi: body.readUInt32BE(72),
    reqid: body.readUInt32LE(208),
    port: body.readUInt16BE(32),
    sent: replay === undefined ? 0 : replay.readUInt32LE(12) * 2 ** 32 + replay.readUInt32LE(4),
  };
}

/** Makes a policy, or takes the place of the one with the same addresses, port and direction. */
export function newPolicy(policy: XfrmPolicy): Buffer {
  const info = Buffer.alloc(POLICY);
  selectorOf(policy).copy(info, 0);
  writeNoLimits(info, 56);
  info.writeUInt32LE(policy.priority, 152);
  info[160] = DIRECTIONS.indexOf(policy.direction);
  info[161] = ACTIONS.indexOf(policy.action);
  if (policy.action === 'block') return info;
  const template = Buffer.alloc(TEMPLATE);
  stateId(policy).copy(template, 0, 0, 21);
  template.writeUInt16LE(AF_INET, 24);
  addressBytes(policy.source).copy(template, 28);
  template.writeUInt32LE(policy.reqid, 44);
  template[48] = MODE_TRANSPORT;
  template.fill(0xff, 52, 64);
  return Buffer.concat([info, attribute(XFRMA.template, template)]);
}

/** What a policy is found by: struct xfrm_userpolicy_id. */
export function policyKey(policy: XfrmPolicy): Buffer {
  const id = Buffer.alloc(64);
  selectorOf(policy).copy(id, 0);
  id[60] = DIRECTIONS.indexOf(policy.direction);
  return id;
}

/** Undefined for one that is of no kind made here: somebody else's. */
export function parsePolicy(body: Buffer): XfrmPolicy | undefined {
  if (body.length < POLICY || body.readUInt16LE(40) !== AF_INET || body[44] !== IPPROTO_UDP) return undefined;
  const direction = DIRECTIONS[body[160] ?? -1];
  const action = ACTIONS[body[161] ?? -1];
  if (direction === undefined || action === undefined) return undefined;
  const template = parseAttributes(body, POLICY).get(XFRMA.template);
  const address = (offset: number, prefix: number | undefined): string =>
    prefix === 0 ? '' : formatAddress(body.subarray(offset, offset + 4));
  return {
    ...{ direction, action },
    destination: address(0, body[42]),
    source: address(16, body[43]),
    port: body.readUInt16BE(32),
    priority: body.readUInt32LE(152),
    reqid: template?.readUInt32LE(44) ?? 0,
    spi: template?.readUInt32BE(16) ?? 0,
  };
}

/** The name of a state's algorithm and its key, for tests of what was written. */
export function parseKey(body: Buffer): { name: string; key: Buffer } {
  const algorithm = parseAttributes(body, STATE).get(XFRMA.aead) ?? Buffer.alloc(0);
  return { name: attributeText(algorithm), key: algorithm.subarray(ALGORITHM_NAME + 8) };
}

/** struct xfrm_selector: UDP packets to a port, between two addresses. */
function selectorOf(o: { source: string; destination: string; port: number }): Buffer {
  const selector = Buffer.alloc(SELECTOR);
  if (o.destination !== '') addressBytes(o.destination).copy(selector, 0);
  if (o.source !== '') addressBytes(o.source).copy(selector, 16);
  selector.writeUInt16BE(o.port, 32);
  selector.writeUInt16BE(0xffff, 34);
  selector.writeUInt16LE(AF_INET, 40);
  selector[42] = o.destination === '' ? 0 : 32;
  selector[43] = o.source === '' ? 0 : 32;
  selector[44] = IPPROTO_UDP;
  return selector;
}

/** struct xfrm_id, without its padding. */
function stateId({ destination, spi }: { destination: string; spi: number }): Buffer {
  const id = Buffer.alloc(21);
  addressBytes(destination).copy(id, 0);
  id.writeUInt32BE(spi, 16);
  id[20] = IPPROTO_ESP;
  return id;
}

/** struct xfrm_lifetime_cfg: no end by bytes, packets or time. */
function writeNoLimits(into: Buffer, offset: number): void {
  into.fill(0xff, offset, offset + 32);
}
