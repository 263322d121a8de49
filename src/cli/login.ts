import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';
import { invalid } from '#model/errors.ts';
import type { ApiClient } from './api-client.ts';
import { registryKey, removeCredentials, storeCredentials } from './registry-credentials.ts';

export interface LoginFlags {
  username?: string;
  password?: string;
  passwordStdin: boolean;
}

/** Asks the registry whether the credentials are right, and keeps them then. */
export async function login(client: ApiClient, registry: string, o: LoginFlags): Promise<void> {
  if (o.passwordStdin && o.username === undefined) throw invalid('--password-stdin needs --username');
  const username = o.username ?? (await ask('Username: ', false));
  const password = o.passwordStdin
    ? (await text(process.stdin)).replace(/\r?\n$/, '')
    : (o.password ?? (await ask('Password: ', true)));
  if (username === '' || password === '') throw invalid('a user name and a password are needed');
  await client.call('POST', '/auth', { username, password, serveraddress: registryKey(registry) });
  storeCredentials(registry, { username, password });
  console.log('Login Succeeded');
}

export function logout(registry: string): void {
  if (removeCredentials(registry)) console.log(`Removed the credentials for ${registry}`);
  else console.log(`Not logged in to ${registry}`);
}

async function ask(question: string, hidden: boolean): Promise<string> {
  if (!process.stdin.isTTY)
    throw invalid('there is no terminal to ask on', { hint: 'Give --username and --password-stdin.' });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    if (!hidden) return await terminal.question(question);
    process.stderr.write(question);
    process.stdin.setRawMode(true);
    const typed = await readHidden();
    process.stderr.write('\n');
    return typed;
  } finally {
    if (hidden) process.stdin.setRawMode(false);
    terminal.close();
  }
}

/** Up to the end of the line, without showing it. */
async function readHidden(): Promise<string> {
  let typed = '';
  for await (const chunk of process.stdin) {
    for (const character of String(chunk)) {
      if (character === '\r' || character === '\n') return typed;
      if (character === '\u0003') throw invalid('cancelled');
      typed = character === '\u007f' ? typed.slice(0, -1) : typed + character;
    }
  }
  return typed;
}
