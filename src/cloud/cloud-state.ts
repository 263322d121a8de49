import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { notFound } from '#model/errors.ts';
import { type CloudPlace, type CloudRoot, cloudPlace } from './cloud-place.ts';
import type { ProcessRecord } from './process-record.ts';

/** The record of a cloud, `cloud.json`. */
export interface CloudState {
  name: string;
  /** CIDR; the host has its first address. */
  subnet: string;
  managers: number;
  /** Whether nodes reach what the host reaches, by its addresses. */
  internet: boolean;
  /** A directory a node. */
  dataRoot: string;
  /** Whether `dataRoot` is a tmpfs of the cloud's own. */
  memoryRoot: boolean;
  /** Handed to each daemon beside those that keep it apart. */
  daemonFlags: string[];
  nodes: NodeState[];
  cuts: Cuts;
}

export interface NodeState {
  /** Its host name: `node1`, … */
  name: string;
  address: string;
  mac: string;
  /** The host's end of its cable. */
  port: string;
  /** The init of its PID namespace: when it ends, so does everything there. */
  init?: ProcessRecord;
  daemon?: ProcessRecord;
}

/** What does not get through, by names of nodes. */
export interface Cuts {
  /** Reach nobody, the host neither. */
  isolated: string[];
  /** Do not reach each other. */
  links: [string, string][];
}

/** `not-found` where there is no such cloud. */
export function readCloud(place: CloudPlace): CloudState {
  const state = findCloud(place);
  if (state !== undefined) return state;
  throw notFound(`No such cloud: ${place.name}`, { hint: 'drover cloud ls shows those that there are.' });
}

export function findCloud({ stateFile }: CloudPlace): CloudState | undefined {
  return existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : undefined;
}

/** In one step: a reader sees the old record or the new one. */
export function writeCloud({ lib, stateFile }: CloudPlace, state: CloudState): void {
  mkdirSync(lib, { recursive: true, mode: 0o755 });
  writeFileSync(`${stateFile}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
  renameSync(`${stateFile}.new`, stateFile);
}

/** The clouds of a root that have a record, by name. */
export function listClouds(root: CloudRoot): { place: CloudPlace; state: CloudState }[] {
  const names = existsSync(root.lib) ? readdirSync(root.lib).sort() : [];
  return names.flatMap((name) => {
    const place = cloudPlace(root, name);
    const state = findCloud(place);
    return state === undefined ? [] : [{ place, state }];
  });
}

/** `not-found` where the cloud has no such node. */
export function nodeOf(state: CloudState, name: string): NodeState {
  const node = state.nodes.find((each) => each.name === name);
  if (node === undefined)
    throw notFound(`No such node in cloud ${state.name}: ${name}`, {
      hint: `Its nodes are ${state.nodes.map((each) => each.name).join(', ')}.`,
    });
  return node;
}
