import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { z } from 'zod';
import { messageOf, unavailable } from '#model/errors.ts';

/** From the connection to the end of the answer. */
const LIMIT_MS = 10_000;
const LARGEST_ANSWER = 64 * 1024;
const LONGEST_REASON = 500;

/** cfssl's answer to every request: `result` counts only with `success`. */
const ANSWER = z.object({
  success: z.boolean(),
  result: z.object({ certificate: z.string() }).nullish().catch(undefined),
  errors: z
    .array(z.object({ message: z.string().catch('') }))
    .nullish()
    .catch([]),
});

/** An external CA: where it signs, and whom managers trust and are there. All but the URLs is PEM. */
export interface ExternalAuthority {
  /** `https` URLs of signing endpoints, asked one after the other until one signs. */
  readonly urls: readonly string[];
  /** What it signs with, and what its servers' certificates are of, as in Swarm. */
  readonly rootCertificate: string;
  /** Shown to its servers; none of a node that has no certificate yet. */
  readonly client: { readonly certificate: string; readonly key: string } | undefined;
}

/** The body of cfssl's `sign`. */
export interface SignRequest {
  readonly certificate_request: string;
  readonly hosts?: readonly string[];
  readonly subject: { readonly CN?: string; readonly names: readonly Readonly<Record<string, string>>[] };
  readonly profile?: string;
  readonly extensions?: readonly {
    readonly id: string;
    readonly critical: boolean;
    readonly value: string;
  }[];
}

/** The certificate (PEM) that one of the endpoints signs; nothing of it is checked here. `unavailable` with each one's reason where none does. */
export async function askToSign(authority: ExternalAuthority, body: SignRequest): Promise<string> {
  const reasons: string[] = [];
  for (const url of authority.urls) {
    try {
      return await post(authority, url, JSON.stringify(body));
    } catch (error) {
      reasons.push(`${url}: ${messageOf(error)}`);
    }
  }
  throw unavailable(`no external CA signed: ${reasons.join('; ')}`);
}

async function post(authority: ExternalAuthority, url: string, body: string): Promise<string> {
  const { rootCertificate, client } = authority;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const call = request(url, {
    ...{ method: 'POST', agent: false, signal: AbortSignal.timeout(LIMIT_MS), ca: rootCertificate },
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
    ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
  });
  call.once('response', resolve);
  call.on('error', reject);
  call.end(body);
  const response = await promise;
  const text = await textOf(response);
  const answer = ANSWER.safeParse(jsonOf(text));
  const { success, result, errors } = answer.data ?? { success: false };
  if (success && result !== undefined && result !== null) return result.certificate;
  const said =
    errors?.map(({ message }) => message).join(', ') || `status ${response.statusCode}, and no certificate`;
  throw unavailable(said.slice(0, LONGEST_REASON));
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    text += chunk;
    if (text.length > LARGEST_ANSWER) throw unavailable(`the answer has more than ${LARGEST_ANSWER} bytes`);
  }
  return text;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
