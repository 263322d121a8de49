import { constants } from 'node:os';
import { invalid } from '#model/errors.ts';

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** A signal's number from `9`, `KILL`, `SIGKILL`, `RTMIN+3`; throws `invalid signal: x`. */
export function parseSignal(text: string): number {
  const number = signalNumber(text.trim().toUpperCase());
  if (number === undefined) throw invalid(`invalid signal: ${text}`);
  return number;
}

function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= SIGRTMAX ? number : undefined;
  }
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  const known: Readonly<Record<string, number>> = constants.signals;
  if (Object.hasOwn(known, name)) return known[name];
  const realTime = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime === null) return undefined;
  const [, end, sign, offset = '0'] = realTime;
  if (sign !== undefined && sign !== (end === 'MIN' ? '+' : '-')) return undefined;
  const number = end === 'MIN' ? SIGRTMIN + Number(offset) : SIGRTMAX - Number(offset);
  return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
}
