import { createServer, type Server } from 'node:https';
import { TLSSocket } from 'node:tls';
import * as x509 from '@peculiar/x509';
import { z } from 'zod';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { generateKey, SIGNATURE, signingKeys } from '#cluster/ca/ecdsa-key.ts';
import type { Root } from '#cluster/ca/root-certificate.ts';

interface SignAsked {
  certificate_request: string;
  hosts?: string[] | undefined;
  subject: { CN?: string | undefined; names: Record<string, string>[] };
  profile?: string | undefined;
}

const SIGN: z.ZodType<SignAsked> = z.object({
  certificate_request: z.string(),
  hosts: z.array(z.string()).optional(),
  subject: z.object({ CN: z.string().optional(), names: z.array(z.record(z.string(), z.string())) }),
  profile: z.string().optional(),
});

/** What a server does otherwise than it should. */
export interface Wrong {
  readonly subject?: SignAsked['subject'];
  readonly anotherKey?: boolean;
  readonly root?: Root;
  readonly lifeMs?: number;
  readonly isCa?: boolean;
  readonly usages?: string[];
  /** Instead of an answer: what is written, or nothing at all. */
  readonly body?: string | undefined;
}

const LIFE_MS = 30 * 24 * 3600 * 1000;

/**
 * An external CA as cfssl's server is one, on an address with TLS: `POST /api/v1/cfssl/sign` signs with a root. It takes clients that show a
 * certificate and such as do not.
 */
export class CfsslServer implements AsyncDisposable {
  readonly asked: SignAsked[] = [];
  /** The subjects of the certificates that clients showed. */
  readonly clients: (string | undefined)[] = [];
  wrong: Wrong = {};
  readonly #root: Root;
  readonly #server: Server;
  readonly #host: string;

  private constructor(root: Root, server: Server, host: string) {
    this.#root = root;
    this.#server = server;
    this.#host = host;
  }

  static async start(root: Root, host: string): Promise<CfsslServer> {
    const key = await generateKey();
    const certificate = await signed(root, {
      ...{ subject: [{ CN: ['cfssl'] }], hosts: [host], publicKey: signingKeys(key).publicKey },
      ...{ lifeMs: LIFE_MS, isCa: false, usages: [x509.ExtendedKeyUsage.serverAuth] },
    });
    const server = createServer({ key, cert: certificate, requestCert: true, rejectUnauthorized: false });
    const cfssl = new CfsslServer(root, server, host);
    server.on('request', (request, response) => {
      const { socket } = request;
      if (socket instanceof TLSSocket) cfssl.clients.push(socket.getPeerX509Certificate()?.subject);
      let text = '';
      request.on('data', (chunk) => {
        text += String(chunk);
      });
      request.on('end', () => {
        cfssl.#answer(request.url ?? '', text).then(
          (body) => void (body === undefined ? undefined : response.end(body)),
          (error: unknown) =>
            response.end(
              JSON.stringify({ success: false, result: null, errors: [{ code: 1, message: String(error) }] }),
            ),
        );
      });
    });
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    server.unref();
    return cfssl;
  }

  get url(): string {
    const address = this.#server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    return `https://${this.#host}:${port}/api/v1/cfssl/sign`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(path: string, text: string): Promise<string | undefined> {
    if ('body' in this.wrong) return this.wrong.body;
    if (path !== '/api/v1/cfssl/sign') throw new Error('no such endpoint');
    const asked = SIGN.parse(JSON.parse(text));
    this.asked.push(asked);
    const { wrong } = this;
    const csr = wrong.anotherKey === true ? (await createRequest()).csr : asked.certificate_request;
    const { CN, names } = wrong.subject ?? asked.subject;
    const certificate = await signed(wrong.root ?? this.#root, {
      subject: [...names, ...(CN === undefined ? [] : [{ CN }])].flatMap((name) =>
        Object.entries(name).map(([attribute, value]) => ({ [attribute]: [value] })),
      ),
      hosts: asked.hosts ?? [],
      publicKey: new x509.Pkcs10CertificateRequest(csr).publicKey,
      lifeMs: wrong.lifeMs ?? LIFE_MS,
      isCa: wrong.isCa ?? asked.profile === 'CA',
      usages: wrong.usages ?? [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
    });
    return JSON.stringify({ success: true, result: { certificate }, errors: [], messages: [] });
  }
}

async function signed(
  root: Root,
  o: {
    subject: x509.JsonName;
    hosts: readonly string[];
    publicKey: x509.PublicKeyType;
    lifeMs: number;
    isCa: boolean;
    usages: string[];
  },
): Promise<string> {
  const issuer = new x509.X509Certificate(root.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    ...{ subject: o.subject, issuer: issuer.subjectName, publicKey: o.publicKey },
    ...{ signingKey: signingKeys(root.key).privateKey, signingAlgorithm: SIGNATURE },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + o.lifeMs),
    extensions: [
      new x509.BasicConstraintsExtension(o.isCa, undefined, true),
      ...(o.isCa ? [] : [new x509.ExtendedKeyUsageExtension(o.usages)]),
      ...(o.hosts.length === 0
        ? []
        : [
            new x509.SubjectAlternativeNameExtension(
              o.hosts.map((value) => ({ type: /^[0-9.]+$|:/.test(value) ? 'ip' : 'dns', value })),
            ),
          ]),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}
