import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** `PRETTY_NAME` and `VERSION_ID` of /etc/os-release (os-release(5)); empty where there is none. */
export function operatingSystem(): { name: string; version: string } {
  let text: string;
  try {
    text = readFileSync('/etc/os-release', 'utf8');
  } catch {
    return { name: 'Linux', version: '' };
  }
  const field = (key: string): string => new RegExp(`^${key}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { name: field('PRETTY_NAME'), version: field('VERSION_ID') };
}

/** The daemon's identity, made at its first start and kept in its data root. */
export function engineId(dataRoot: string): string {
  const file = join(dataRoot, 'engine-id');
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    const id = randomUUID();
    writeFileSync(file, `${id}\n`);
    return id;
  }
}
